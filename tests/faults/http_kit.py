"""A client that keeps nothing between two calls: a connection each, so that every call may meet another worker."""

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


async def _exchange(url: str, method: str, body: bytes, headers: Mapping[str, str], reply: Reply) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        lines = [f"{method} {address.path}{'?' if address.query else ''}{address.query} HTTP/1.1"]
        lines += [f"host: {address.netloc}", "connection: close", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        for line in head[1:]:
            name, _, value = line.partition(":")
            reply.headers[name.lower()] = value.strip()
        reply.status = int(head[0].split()[1])
        if "chunked" in reply.headers.get("transfer-encoding", ""):
            while size := int(await reader.readline(), 16):
                reply.body += await reader.readexactly(size)
                await reader.readline()
        else:
            reply.body = await reader.readexactly(int(reply.headers.get("content-length", "0")))
        reply.complete = True
    finally:
        writer.transport.abort()
