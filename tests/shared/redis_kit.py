"""A Redis server for tests: on a socket in a folder of its own, with nothing on disk."""

import subprocess
import time
from pathlib import Path

import redis
from machine import find

START_SECONDS = 10.0


class RedisServer:
    """Runs until `stop`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self._options = options
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [find("redis"), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "",
             "--maxmemory-policy", "noeviction", "--logfile", str(self.folder / "redis.log"), *self._options],
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.client().ping()
            except redis.exceptions.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def client(self) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.socket))

    def empty(self) -> None:
        self.client().flushall()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
