"""Clients: one with a connection for each call, so that every call may meet another worker, and one that keeps it."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PATIENCE_SECONDS = 45.0


@dataclass(slots=True)
class Reply:
    """What came back. `status` is 0 when there was no answer, `complete` false when it broke off."""

    began_at: float  # monotonic
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    seconds: float = 0.0

    @property
    def code(self) -> str | None:
        """The router's own error code."""
        return self.headers.get("x-router-error")

    def json_of_error(self) -> dict[str, str]:
        """The facts of a refusal."""
        facts: dict[str, str] = json.loads(self.body)["error"]
        return facts


async def post(url: str, document: object, headers: Mapping[str, str]) -> Reply:
    """POST a JSON document; never raises for what the network or the server does."""
    body = json.dumps(document).encode()
    return await send(url, "POST", body, {"content-type": "application/json", **headers})


async def get(url: str, headers: Mapping[str, str]) -> Reply:
    return await send(url, "GET", b"", headers)


async def send(url: str, method: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    reply = Reply(time.monotonic())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _exchange(url, method, body, headers, reply)
    except (OSError, EOFError, TimeoutError, ValueError):
        pass  # whoever asked sees an answer that is not complete
    reply.seconds = time.monotonic() - reply.began_at
    return reply


class Client:
    """One that keeps its connection, as SDKs do: until an answer says that it is the last one, or it was closed."""

    def __init__(self) -> None:
        self._address = ("", 0)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.opened = 0

    async def post(self, url: str, document: object, headers: Mapping[str, str]) -> Reply:
        """As `post` above."""
        body, reply = json.dumps(document).encode(), Reply(time.monotonic())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reader, writer = await self._connection(url)
                writer.write(_request(url, "POST", body, {"content-type": "application/json", **headers}))
                await _read(reader, reply)
        except (OSError, EOFError, TimeoutError, ValueError):
            pass
        if not reply.complete or reply.headers.get("connection") == "close":
            self.close()
        reply.seconds = time.monotonic() - reply.began_at
        return reply

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _connection(self, url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = urlsplit(url)
        host, port = address.hostname or "", address.port or 80
        if self._reader is None or self._writer is None or self._reader.at_eof() or self._address != (host, port):
            self.close()
            self._reader, self._writer = await asyncio.open_connection(host, port)
            self._address = host, port
            self.opened += 1
        return self._reader, self._writer


async def _exchange(url: str, method: str, body: bytes, headers: Mapping[str, str], reply: Reply) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(_request(url, method, body, {"connection": "close", **headers}))
        await _read(reader, reply)
    finally:
        writer.transport.abort()


def _request(url: str, method: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    address = urlsplit(url)
    lines = [f"{method} {address.path}{'?' if address.query else ''}{address.query} HTTP/1.1"]
    lines += [f"host: {address.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _read(reader: asyncio.StreamReader, reply: Reply) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    for line in head[1:]:
        name, _, value = line.partition(":")
        reply.headers[name.lower()] = value.strip()
    reply.status = int(head[0].split()[1])
    if "chunked" in reply.headers.get("transfer-encoding", ""):
        while size := int(await reader.readline(), 16):
            reply.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        reply.body = await reader.readexactly(int(reply.headers.get("content-length", "0")))
    reply.complete = True
