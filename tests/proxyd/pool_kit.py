"""The worker pool in a process of its own, patched as `python -m proxyd` is, with a toy handler that tells its pid."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TOY = """
from gevent import monkey
monkey.patch_all(thread=False, queue=False, subprocess=False, signal=False)
import gevent, os, sys, time
from pathlib import Path
from proxyd import pool
from proxyd.messages import Response

bind, workers, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

def handler(request):
    if request.path == "/slow":
        gevent.sleep(1.0)
    if request.path == "/thread":
        return Response(200, [], str(gevent.get_hub().threadpool.apply(os.getpid)).encode())
    if request.path == "/wedge":
        while True:
            pass
    return Response(200, [], str(os.getpid()).encode())

def on_error(error, request):
    return Response(getattr(error, "status", 500), [], str(error).encode())

def build():
    if (directory / "broken").exists():
        raise RuntimeError("the settings are nonsense")
    def note(what):
        return lambda: (directory / f"{what}-{os.getpid()}").touch()
    return pool.WorkerParts(handler, on_error, note("start"), note("stop"))

def check():
    if (directory / "bad").exists():
        raise ValueError("ROUTER_X is nonsense")

def listening(address):
    (directory / "address").write_text(address)

sys.exit(pool.serve(bind, workers, build, grace_seconds=5, check=check, on_listening=listening))
"""


class Pool:
    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self.directory = directory

    @property
    def address(self) -> Path:
        return self.directory / "address"

    def get(self, path: str = "/") -> str:
        with self.connect() as sock:
            sock.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := sock.recv(65536):
                data += piece
        return data.partition(b"\r\n\r\n")[2].decode()

    def connect(self) -> socket.socket:
        host, _, port = self.address.read_text().rpartition(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def pids(self, tries: int = 40) -> set[int]:
        return {int(self.get()) for _ in range(tries)}

    def started(self) -> set[int]:
        """All workers that ever were."""
        return {int(path.name.partition("-")[2]) for path in self.directory.glob("start-*")}

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def log(self) -> str:
        return (self.directory / "log").read_text()


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)


@contextmanager
def started(directory: Path, workers: int = 2, bind: str = "127.0.0.1:0") -> Iterator[Pool]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(directory / "home")}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", TOY, bind, str(workers), str(directory)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    pool = Pool(process, directory)
    try:
        yield pool
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(timeout=8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
