"""Raw peers for the cases of the catalogue: a client that sends bytes to the proxy, a provider that follows a script."""

import contextlib
import json
import re
import socket
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from harness import Json, Router, eventually, free_port

HOST = b"Host: router.test\r\n"
WAIT_SECONDS = 10.0


class Ended(Exception):
    """The other side closed the connection."""


@dataclass
class Answer:
    """One response. `whole` is false when the connection ended before its framing said so."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = True

    @property
    def code(self) -> str | None:
        return self.headers.get("x-router-error")


class Line:
    """One end of a TCP connection, with what was received and not consumed yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        sock.settimeout(WAIT_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes, *, bytewise: bool = False) -> None:
        """Send whole, or one byte a segment. What the other side no longer wants is not sent."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in [data[at : at + 1] for at in range(len(data))] if bytewise else [data]:
                self.sock.sendall(piece)

    def more(self) -> None:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Ended
        self.buffer += data

    def upto(self, end: bytes) -> bytes:
        while end not in self.buffer:
            self.more()
        taken, _, self.buffer = self.buffer.partition(end)
        return taken + end

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def head(self) -> tuple[str, dict[str, str]]:
        """The first line and the headers of a message; of a repeated header the values are joined."""
        first, *lines = self.upto(b"\r\n\r\n").decode("latin-1").strip().split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return first, headers

    def chunk(self) -> bytes:
        """One chunk of a chunked body; b"" is its end."""
        data = self.exactly(int(self.upto(b"\r\n"), 16))
        self.exactly(2)
        return data

    def body(self, headers: dict[str, str]) -> bytes:
        """The body that belongs to these headers. Raises Ended when it ends before its framing says so."""
        if headers.get("transfer-encoding") != "chunked":
            return self.exactly(int(headers.get("content-length", 0)))
        body = b""
        while piece := self.chunk():
            body += piece
        return body

    def answer(self, *, to_head: bool = False) -> Answer:
        """Read one response to its end."""
        first, headers = self.head()
        answer = Answer(int(first.split(" ")[1]), headers)
        if to_head or answer.status in (204, 304):
            return answer
        try:
            if headers.get("transfer-encoding") == "chunked":
                while piece := self.chunk():
                    answer.body += piece
            else:
                answer.body = self.exactly(int(headers["content-length"]))
        except Ended:
            answer.whole = False
        return answer

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        with contextlib.suppress(Ended):
            while True:
                self.more()
        return self.buffer

    def closed(self) -> bool:
        """Whether the other side closes without another byte."""
        return self.rest() == b""


def dial(router: Router) -> Line:
    host, _, port = router.proxy_url.removeprefix("http://").rpartition(":")
    return Line(socket.create_connection((host, int(port)), timeout=WAIT_SECONDS))


def request(line: bytes, *fields: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    return line + b" HTTP/1.1\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def bearer(key: str) -> bytes:
    return b"Authorization: Bearer " + key.encode()


def chat_body(text: str, *, model: str = "gpt-4o-mini", **more: object) -> bytes:
    document = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": text}], **more}
    return json.dumps(document).encode()


def chat_request(key: str, text: str, *fields: bytes, **more: Any) -> bytes:
    """A chat completion with a Content-Length."""
    body = chat_body(text, **more)
    length = b"Content-Length: %d" % len(body)
    return request(b"POST /v1/chat/completions", bearer(key), length, *fields, body=body)


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def worker_of(router: Router, line: Line) -> int:
    """The process id of the worker that serves this connection."""
    ours, theirs = (line.sock.getsockname()[1], line.sock.getpeername()[1])
    wanted = (f":{theirs:04X}", f":{ours:04X}")

    def inode() -> str | None:
        for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[1].endswith(wanted[0]) and fields[2].endswith(wanted[1]) and fields[9] != "0":
                return fields[9]
        return None

    eventually(lambda: inode() is not None, what="a worker's accept")
    target = f"socket:[{inode()}]"
    for pid in router.worker_pids():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == target:
                    return pid
    raise AssertionError("no worker holds this connection")


def ledger_rows(router: Router, key_id: str) -> list[Json]:
    """The ledger's rows of a key, as they stand in the database."""
    database = sqlite3.connect(f"file:{router.data_dir / 'router.db'}?mode=ro", uri=True, timeout=10)
    database.row_factory = sqlite3.Row
    try:
        found = database.execute("select * from usage_records where key_id = ? order by id", (key_id,)).fetchall()
    finally:
        database.close()
    return [{**dict(row), "flags": json.loads(row["flags"])} for row in found]


@dataclass
class Heard:
    """A request as the scripted provider received it."""

    connection: int
    first: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Line, Heard], object]  # what it answers is nobody's


@dataclass
class ScriptedProvider:
    """A provider on a socket of its own that answers each request with `script`, which may also raise Ended to close."""

    script: Script | None = None
    reads_bodies: bool = True  # before the script is followed
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    ended: int = 0

    def __post_init__(self) -> None:
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._lines: list[Line] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def play(self, script: Script, *, reads_bodies: bool = True) -> None:
        """Follow another script from now on, and forget what was heard."""
        self.script, self.reads_bodies = script, reads_bodies
        self.heard.clear()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                line = Line(sock)
                sock.settimeout(None)
                self._lines.append(line)
                threading.Thread(target=self._serve, args=(line, self.connections), daemon=True).start()

    def _serve(self, line: Line, number: int) -> None:
        with contextlib.suppress(Ended, OSError), line:
            while True:
                first, headers = line.head()
                body = line.body(headers) if self.reads_bodies else b""
                heard = Heard(number, first, headers, body)
                self.heard.append(heard)
                assert self.script is not None
                self.script(line, heard)
        self.ended += 1


def reply(status: int = 200, body: bytes = b"{}", *fields: bytes, kind: bytes = b"application/json") -> bytes:
    """A complete response."""
    head = b"HTTP/1.1 %d Status\r\nContent-Type: %b\r\nContent-Length: %d\r\n" % (status, kind, len(body))
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def events(*documents: bytes | Json, named: bool = False) -> bytes:
    """A complete event stream; `named` gives each event its type as its name, as Anthropic does."""
    data = b""
    for document in documents:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        if named and isinstance(document, dict):
            data += b"event: " + document["type"].encode() + b"\n"
        data += b"data: " + text + b"\n\n"
    return reply(200, data, kind=b"text/event-stream")
