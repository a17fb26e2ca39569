"""Who is told of alerts: a receiver of webhooks and one of mail, both real servers."""

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

RECIPIENT = "ops@example.com"


@dataclass
class Received:
    """A request that came to a receiver."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed_by(self, secret: str) -> bool:
        """As a receiver checks it: written anew, by the words of the standard."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return wanted in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """A server of webhooks. It answers with `statuses` one after the other, then 204; while it is `held` with nothing."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    free: threading.Event = field(default_factory=threading.Event)

    def hold(self) -> None:
        self.free.clear()


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """One on a port of its own."""
    receiver = Receiver()
    receiver.free.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, body))
            receiver.came.release()
            receiver.free.wait(30)
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Nothing: whoever was killed while it waited is not there for the answer."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.free.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailBox:
    """A mail server, and what it took. It answers with `replies` one after the other, then takes everything."""

    port: int = 0
    replies: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        if self.replies:
            return self.replies.pop(0)
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        return "250 taken"

    def text(self, number: int = -1) -> str:
        content: str = self.messages[number].get_content()  # type: ignore[attr-defined] # of this policy's messages
        return content.replace("\r\n", "\n")


@contextmanager
def mail_server(**options: Any) -> Iterator[MailBox]:
    """One on a port of its own."""
    box = MailBox()
    listener = socket.create_server(("127.0.0.1", 0))
    box.port = listener.getsockname()[1]

    class OnSocket(Controller):
        """The library would be told a port, which somebody else may have taken by then."""

        def _create_server(self) -> Any:
            return self.loop.create_server(self._factory_invoker, sock=listener, ssl=self.ssl_context)

    controller = OnSocket(box, hostname="127.0.0.1", port=box.port, **options)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
