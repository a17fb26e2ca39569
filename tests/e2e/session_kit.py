"""WebSockets through the router as a client opens them."""

import base64
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from certificates import self_signed
from harness import Json, Router
from hurt_kit import settled
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

RESPONSES, REALTIME = "/v1/responses", "/v1/realtime?model=gpt-realtime"
LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
WAIT_SECONDS = 10.0


def opened(router: Router, path: str, key: str | None, **more: Any) -> ClientConnection:
    """A session; the caller closes it. What refuses it is raised as `InvalidStatus`."""
    return opened_at(router.proxy_url, path, {} if key is None else {"Authorization": f"Bearer {key}"}, **more)


def opened_at(base: str, path: str, headers: dict[str, str], **more: Any) -> ClientConnection:
    """The same at any base address, with any headers."""
    url = base.replace("http://", "ws://") + path
    session: ClientConnection = connect(
        url, additional_headers=headers, proxy=None, open_timeout=WAIT_SECONDS, legacy=True, **more
    )
    return session


@contextlib.contextmanager
def tls_before(router: Router, folder: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """The router behind TLS, for clients that open a WebSocket in no other way, and what they must trust."""
    key, certificate = self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    threads: list[threading.Thread] = []
    host, _, port = router.proxy_url.removeprefix("http://").rpartition(":")

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def accept(listener: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                for pair in ((near, far), (far, near)):
                    threads.append(threading.Thread(target=pass_on, args=pair, daemon=True))
                    threads[-1].start()

    with context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}", ssl.create_default_context(cafile=certificate)
        listener.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(WAIT_SECONDS)


def tell(client: ClientConnection, **event: Any) -> None:
    client.send(json.dumps(event))


def hear(session: ClientConnection, *kinds: str) -> Json:
    """The next event of one of these kinds, whatever comes before it."""
    while True:
        event: Json = json.loads(session.recv(timeout=WAIT_SECONDS))
        if event.get("type") in kinds:
            return event


def everything(session: ClientConnection) -> tuple[list[Json], int, str]:
    """All that still comes, and why the session was closed then."""
    found: list[Json] = []
    try:
        while True:
            found.append(json.loads(session.recv(timeout=WAIT_SECONDS)))
    except ConnectionClosed as error:
        closed = error.rcvd
    return found, 1006 if closed is None else closed.code, "" if closed is None else closed.reason


def create(session: ClientConnection, text: str, **more: Any) -> None:
    """Ask for a response, of the Responses kind."""
    tell(session, type="response.create", model="gpt-4o-mini", input=text, **more)


def say(session: ClientConnection, text: str) -> None:
    """Something that a Realtime session is to answer."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    tell(session, type="conversation.item.create", item=item)


def speak(session: ClientConnection, *, seconds: float = 0.5) -> None:
    """Speak, and be silent; whoever is refused at the first sound hears why, though the second is not taken any more."""
    with contextlib.suppress(ConnectionClosed):
        for sample in (b"\x01", b"\0"):
            sound = base64.b64encode(sample * int(48_000 * seconds)).decode()
            tell(session, type="input_audio_buffer.append", audio=sound)


def turns(router: Router, key_id: str, count: int) -> list[Json]:
    """The rows of a key's turns, without those of the sessions themselves, which cost nothing."""
    rows = settled(router, key_id, count + 1)
    sessions = [row for row in rows if row["status"] == 101]
    assert all((row["cost_nanos"], row["flags"]) == (0, []) for row in sessions)
    return [row for row in rows if row["status"] != 101]
