"""A network between a pool and a server: listens on TCP and carries bytes to the server's socket file and back.

It is a process of its own, so that a busy test does not slow it down, and so that it can be cut: while it is stopped
nothing arrives in either direction and nobody is told; afterwards it does arrive, as what TCP sends again.
"""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

_BYTES = 65_536


class Relay:
    """The process, and the port it listens on. `pid` may be sent SIGSTOP and SIGCONT."""

    def __init__(self, target: Path) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, str(target)], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.port = int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


async def _serve(target: str) -> None:
    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_BYTES):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def accepted(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_unix_connection(target)
        except OSError:  # nobody is there now
            to_client.close()
            return
        await asyncio.gather(carry(client, to_server), carry(server, to_client))

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
