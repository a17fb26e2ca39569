"""The launcher's children: one that does not answer any more is replaced, also when its process still stands."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp import supervisor
from webapp.supervisor import Child, Children

# Answers until a file says that it shall hang.
SERVER = """
import http.server, pathlib, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while pathlib.Path(sys.argv[2]).exists():
            time.sleep(0.01)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def child(tmp_path: Path, unused_port: int) -> Child:
    arguments = ["-c", SERVER, str(unused_port), str(tmp_path / "hang")]
    return Child("dashboard", arguments, f"http://127.0.0.1:{unused_port}/", probed=True)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def children(child: Child, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    monkeypatch.setattr(supervisor, "_PROBE_SECONDS", 0.1)
    children = Children([child], stop_signals=[signal.SIGUSR2])
    try:
        children.start(20)
        yield children
    finally:
        children.stop(5)


def test_it_works(children: Children, child: Child, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = children._running["dashboard"]
    for _ in range(3):
        children._probe()
    (tmp_path / "hang").touch()
    for _ in range(3):
        children._probe()
    assert first.poll() is None  # it may only be busy
    (tmp_path / "hang").unlink()
    children._probe()
    (tmp_path / "hang").touch()
    for _ in range(4):
        assert first.poll() is None
        children._probe()
    assert first.poll() == -signal.SIGKILL
    assert "does not answer any more" in capfd.readouterr().err
    (tmp_path / "hang").unlink()
    assert children._revive(child)
    children._until_ready(child, 20)
    assert children._running["dashboard"].pid != first.pid


def test_who_is_not_probed_may_be_silent(children: Children, tmp_path: Path, child: Child) -> None:
    children._wanted = [Child(child.name, child.arguments, child.ready_url)]
    (tmp_path / "hang").touch()
    for _ in range(5):
        children._probe()
    assert children._running["dashboard"].poll() is None
