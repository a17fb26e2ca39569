"""The whole router as real processes on free ports, in a data directory of its own, for tests to use and to hurt."""

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import leaks
import requests
from process_kit import become_a_service

from shared import keys
from shared.config import SETTINGS, Settings
from webapp.launch import web_command

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS, STOP_SECONDS = 30, 40
Json = dict[str, Any]  # of the API, the provider or the ledger: what stands in it is for the tests to say
_PORTS: set[int] = set()
# Of all routers of this process, so that the data directory of one can be a copy of another's.
_PASSWORD, _TOKEN = f"pw-{secrets.token_hex(12)}", keys.mint(keys.MANAGEMENT_TAG).raw
_CREDENTIALS = {slug: f"sandbox-{slug}-{secrets.token_hex(12)}" for slug in ("openai", "anthropic", "gemini")}
_BOOTSTRAPPED: list[Path] = []
# A router with one of these of its own needs a bootstrap of its own.
_OF_ITS_OWN = {"DATABASE_URL", "ROUTER_ENCRYPTION_KEY", "SECRET_KEY"}


def free_port() -> int:
    """A port that nobody listens on, and that was not given to another caller in this process."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        if port not in _PORTS:
            _PORTS.add(port)
            return port


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of the router."""
    ours = {row.name for row in SETTINGS}
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in ours}


def eventually(condition: Callable[[], bool], seconds: float = 10.0, what: str = "it") -> None:
    """Return once `condition()` is true; fail when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {seconds} s")
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return sorted(found)


def is_writer(pid: int) -> bool:
    """Whether a process is the ledger writer."""
    with contextlib.suppress(OSError):
        return b"proxyd.writer" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


class Router:
    """Sandbox, proxy with two workers and dashboard. `processes` may be stopped and started by name.

    The dashboard has one worker where nobody wants to see it with more: each takes two seconds to start.
    """

    dashboard_workers = 1

    def __init__(self, data_dir: Path, *, workers: int = 2, **settings: str) -> None:
        self.root, self.data_dir = ROOT, data_dir  # the checkout that it runs from; what it keeps
        self.log_dir = data_dir.parent / f"{data_dir.name}-logs"
        self.log_dir.mkdir()
        self.sandbox_url, self.web_url, self.proxy_url = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        self.admin, self.token, self.credentials = ("admin@example.com", _PASSWORD), _TOKEN, _CREDENTIALS
        self._copyable = not _OF_ITS_OWN & settings.keys()
        self.environ = clean_environment() | {
            "ROUTER_DATA_DIR": str(data_dir),
            "ROUTER_WEB_BIND": self.web_url.removeprefix("http://"),
            "ROUTER_PROXY_BIND": self.proxy_url.removeprefix("http://"),
            "ROUTER_PROXY_WORKERS": str(workers),
            "ROUTER_ADMIN_EMAIL": self.admin[0],
            "ROUTER_ADMIN_PASSWORD": self.admin[1],
            "ROUTER_BOOTSTRAP_TOKEN": self.token,
            "ROUTER_PROVIDERS_PRIVATE_ADDRESSES": "127.0.0.0/8",
            "ROUTER_OPENAI_URL": self.sandbox_url,
            "ROUTER_ANTHROPIC_URL": self.sandbox_url,
            "ROUTER_GEMINI_URL": self.sandbox_url,
            "OPENAI_API_KEY": self.credentials["openai"],
            "ANTHROPIC_API_KEY": self.credentials["anthropic"],
            "GEMINI_API_KEY": self.credentials["gemini"],
            **settings,
        }
        self.settings = Settings.from_env(self.environ)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands = {
            "sandbox": (["-m", "proxyd.sandbox", "--bind", self.sandbox_url.removeprefix("http://")], self.sandbox_url),
            "proxy": (["-m", "proxyd"], self.proxy_url),
            "dashboard": ([*web_command(self.settings), "--workers", str(self.dashboard_workers)], self.web_url),
        }

    # Processes

    def start_all(self) -> None:
        self.bootstrap()
        self.start(*self._commands)

    def bootstrap(self) -> None:
        """Make the data directory ready to start; all but the first as a copy of it, which takes seconds less."""
        if self._copyable and _BOOTSTRAPPED:
            shutil.copytree(_BOOTSTRAPPED[0], self.data_dir, dirs_exist_ok=True)
            return
        self.run("-m", "flask", "--app", "wsgi", "bootstrap")
        if self._copyable:
            kept = Path(tempfile.mkdtemp(prefix="router-bootstrapped-")) / "data"
            atexit.register(shutil.rmtree, kept.parent, ignore_errors=True)
            shutil.copytree(self.data_dir, kept)
            _BOOTSTRAPPED.append(kept)

    def run(self, *arguments: str) -> str:
        """Run Python with these arguments in the router's environment; its output, which is kept as a log as well."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        with (self.log_dir / "commands.log").open("a") as log:
            log.write(done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *names: str) -> None:
        """Start processes, all at once, and wait until each answers."""
        for name in names:
            self._spawn(name)
        for name in names:
            eventually(partial(self._answers, name), START_SECONDS, f"an answer from {name}")

    def _spawn(self, name: str) -> None:
        arguments, _ = self._commands[name]
        with (self.log_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.root,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=become_a_service,  # noqa: PLW1509 - there is no other way to say it
            )

    def _answers(self, name: str) -> bool:
        process, (_, url) = self.processes[name], self._commands[name]
        assert process.poll() is None, f"{name} ended with {process.returncode}: {self.log_of(name)[-2000:]}"
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{url}/healthz", timeout=2).status_code == 200
        return False

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """End one process by a signal, with all of its group in the end; its exit status."""
        self.processes[name].send_signal(number)
        return self._reap(name)

    def stop_all(self) -> None:
        """End all at once, and without a drain: whoever has to see one uses `stop`."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        for name in reversed(list(self.processes)):
            self._reap(name)

    def _reap(self, name: str) -> int:
        process = self.processes.pop(name)
        try:
            return process.wait(timeout=STOP_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def worker_pids(self) -> list[int]:
        """The proxy's workers; its other child is the ledger writer."""
        return [pid for pid in children_of(self.processes["proxy"].pid) if not is_writer(pid)]

    def writer_pid(self) -> int:
        """The ledger writer; 0 while there is none."""
        return next(filter(is_writer, children_of(self.processes["proxy"].pid)), 0)

    def kill_writer(self) -> int:
        """Kill the ledger writer outright; its process id. Another one takes its place."""
        pid = self.writer_pid()
        assert pid, "there is no ledger writer"
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pid not in children_of(self.processes["proxy"].pid), what="the end of the ledger writer")
        return pid

    def kill_worker(self, index: int = 0) -> int:
        """Kill a proxy worker outright; its process id. Another one takes its place."""
        pid = self.worker_pids()[index]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pid not in self.worker_pids(), what="the end of the worker")
        return pid

    # What the router and the provider say

    def api(self, method: str, path: str, **more: Any) -> requests.Response:
        """A call of the management API with the bootstrap token."""
        headers = {"Authorization": f"Bearer {self.token}"} | more.pop("headers", {})
        return requests.request(method, self.web_url + path, headers=headers, timeout=30, **more)

    def create_key(self, **fields: object) -> tuple[str, str]:
        """Make a proxy key: its id and its secret."""
        answer = self.api("POST", "/v1/keys", json=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], answer.json()["key"]

    def key(self, key_id: str) -> Json:
        answer = self.api("GET", f"/v1/keys/{key_id}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def edit(self, key_id: str, **fields: object) -> Json:
        answer = self.api("PATCH", f"/v1/keys/{key_id}", json=fields)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def invoice(self) -> Json:
        """The provider's invoice as it stands."""
        found: Json = requests.get(f"{self.sandbox_url}/invoice", timeout=30).json()
        return found

    def attempts(self, text: str, count: int = 1) -> list[Json]:
        """The provider's attempts whose prompt holds `text`, once there are `count` and all have ended."""
        found: list[Json] = []

        def ended() -> bool:
            found[:] = [attempt for attempt in self.invoice()["attempts"] if text in attempt["marker"]]
            return len(found) >= count and all(attempt["finished"] for attempt in found)

        eventually(ended, 15, f"the end of {count} attempts")
        return found

    def usage(self, key_id: str) -> list[Json]:
        """The ledger's rows of a key, by day."""
        answer = self.api("GET", f"/v1/keys/{key_id}/usage")
        assert answer.status_code == 200, answer.text
        rows: list[Json] = answer.json()["data"]
        return rows

    def wait_for_ledger(self, key_id: str, requests_count: int) -> None:
        """Return once the ledger has this many requests of the key."""
        eventually(
            lambda: sum(int(row["requests"]) for row in self.usage(key_id)) >= requests_count,
            15,
            f"{requests_count} requests in the ledger",
        )

    # What was written down

    def log_of(self, name: str) -> str:
        path = self.log_dir / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> dict[str, str]:
        """Everything the processes have said, by file."""
        return {path.name: path.read_text(errors="replace") for path in sorted(self.log_dir.iterdir())}

    def leaks(self) -> list[str]:
        """Where a secret lies that must not: any in the logs, any of ours in the files of the data directory."""
        known = [secret.encode() for secret in (self.admin[1], self.token, *self.credentials.values())]
        found = [path for folder in (self.log_dir, self.data_dir) for path in leaks.found_in(folder, known)]
        return [str(path.relative_to(self.data_dir.parent)) for path in found]
