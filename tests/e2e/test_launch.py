"""`make run` as a newcomer sees it: what it prints works, a second run finds everything, and the end leaves nothing behind."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from harness import ROOT, Router, children_of, clean_environment, eventually, free_port

from shared.config import SETTINGS
from webapp.views.providers import SANDBOX_FILE

SECRET = re.compile(r"sk-proxy-[0-9a-f]{64}")


class Launch:
    """One `python -m webapp`, its output in a file."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.web_url, self.proxy_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._output = home / f"output-{free_port()}"
        environ = clean_environment() | {
            "ROUTER_DATA_DIR": str(home / "data"),
            "ROUTER_WEB_BIND": self.web_url.removeprefix("http://"),
            "ROUTER_PROXY_BIND": self.proxy_url.removeprefix("http://"),
            "ROUTER_PROXY_WORKERS": "1",
            **settings,
        }
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webapp"],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_until_running(self) -> str:
        def runs() -> bool:
            assert self.process.poll() is None, self.said
            return "Ctrl-C stops everything." in self.said

        eventually(runs, 60, "the welcome")
        return self.said

    def family(self) -> list[int]:
        """The launcher's children and theirs."""
        children = children_of(self.process.pid)
        return [*children, *(other for child in children for other in children_of(child))]

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=40)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Starts launchers in one home; ends what a failed test leaves."""
    started: list[Launch] = []

    def start(**settings: str) -> Launch:
        started.append(Launch(tmp_path, **settings))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop(signal.SIGTERM)


def all_gone(pids: list[int]) -> bool:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return False
    return True


def printed_curl(said: str) -> list[str]:
    """The words of the command that is printed for copying."""
    lines = said[said.index("  curl ") :].splitlines()
    end = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
    return shlex.split("\n".join(lines[: end + 1]).replace("\\\n", " "))


def ask_as_printed(words: list[str]) -> requests.Response:
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    return requests.post(words[1], data=words[words.index("-d") + 1], headers=headers, timeout=10)


def test_it_works_twice(launch: Callable[..., Launch], tmp_path: Path) -> None:
    first = launch()
    said = first.wait_until_running()
    answer = ask_as_printed(printed_curl(said))
    assert answer.status_code == 200, answer.text
    assert "Hello" in answer.json()["choices"][0]["message"]["content"]
    assert "sandbox" in said
    password = re.search(r"Password +(\S+)  \(shown this once\)", said)
    assert password is not None
    assert "admin@localhost" in said
    assert requests.get(f"{first.web_url}/login", timeout=5).status_code == 200
    secret = SECRET.search(said)
    assert secret is not None
    at_sandbox = tmp_path / "data" / SANDBOX_FILE
    assert at_sandbox.read_text().split() == ["openai", "anthropic", "gemini"]
    assert at_sandbox.stat().st_mode & 0o777 == 0o600
    family = first.family()
    assert len(family) >= 6  # sandbox, proxy and its worker, dashboard and its two workers
    assert first.stop() == 0
    assert not at_sandbox.exists()
    eventually(lambda: all_gone(family), what="the end of all processes")

    second = launch()
    said = second.wait_until_running()
    assert SECRET.search(said) is None
    assert password[1] not in said
    assert f"{secret[0][:13]}... is in place" in said
    assert "make a new one" in said
    words = [word.replace("$ROUTER_KEY", secret[0]) for word in printed_curl(said)]
    assert ask_as_printed(words).status_code == 200
    assert second.stop(signal.SIGTERM) == 0


def test_what_was_made_up_is_told_when_the_proxy_does_not_start(launch: Callable[..., Launch]) -> None:
    """No later start would know it any more."""
    first = launch(ROUTER_REQUEST_LOG="all", ROUTER_REQUEST_LOG_PATH="/proc/requests.log")
    assert first.process.wait(timeout=60) == 1
    assert "ROUTER_REQUEST_LOG_PATH: /proc/requests.log cannot be written" in first.said
    assert "is running." not in first.said
    told = first.said.partition("The router is not running, but this was made for it, and is shown this once:")[2]
    assert re.search(r"Login +admin@localhost\n +Password +\S{16,}\n +API token +sk-mgmt-", told)
    secret = SECRET.search(told)
    assert secret is not None

    second = launch()
    said = second.wait_until_running()
    assert "this was made for it" not in said
    words = [word.replace("$ROUTER_KEY", secret[0]) for word in printed_curl(said)]
    assert ask_as_printed(words).status_code == 200
    assert second.stop(signal.SIGTERM) == 0


def test_a_first_start_that_was_refused_is_made_good_by_the_next(launch: Callable[..., Launch]) -> None:
    first = launch(ROUTER_ADMIN_PASSWORD="password")
    assert first.process.wait(timeout=30) == 2
    assert first.said.startswith("ROUTER_ADMIN_PASSWORD must have at least 12 characters")
    second = launch(ROUTER_ADMIN_PASSWORD="a password of ours")
    assert ask_as_printed(printed_curl(second.wait_until_running())).status_code == 200
    assert second.stop(signal.SIGTERM) == 0


def test_a_child_that_dies_is_started_again(launch: Callable[..., Launch]) -> None:
    one = launch()
    one.wait_until_running()
    proxy = next(
        pid for pid in children_of(one.process.pid) if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0proxyd\0")
    )
    os.kill(proxy, signal.SIGKILL)
    eventually(lambda: "The proxy ended with status -9; it is started again." in one.said, what="the message")

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{one.proxy_url}/healthz", timeout=2).status_code == 200
        return False

    eventually(answers, 20, "an answer")
    assert one.stop() == 0


def test_nothing_outlives_a_killed_launcher(launch: Callable[..., Launch]) -> None:
    one = launch()
    one.wait_until_running()
    family = one.family()
    one.process.kill()
    one.process.wait()
    eventually(lambda: all_gone(family), 40, "the end of all processes")


def test_with_a_credential_there_is_no_sandbox(launch: Callable[..., Launch]) -> None:
    one = launch(ANTHROPIC_API_KEY="sk-ant-test", ROUTER_ADMIN_PASSWORD="a password of ours")
    said = one.wait_until_running()
    assert "andbox" not in said
    assert "anthropic/claude" in said
    assert "sk-ant-test" not in said
    assert "a password of ours" not in said
    for pid in (one.process.pid, *one.family()):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"a password of ours" not in environ
        assert b"sk-ant-test" not in environ
    assert one.stop() == 0


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)


def test_children_get_what_they_need_and_no_more(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_PASSWORD_OF_THE_SHELL", "none of the router's business")
    monkeypatch.setenv("PGAPPNAME", "router")
    key = "a-session-key-of-twenty-and-more"
    one = launch(SECRET_KEY=key, ROUTER_ADMIN_EMAIL="a@example.com", ROUTER_ADMIN_PASSWORD="a password of ours")
    one.wait_until_running()
    found = {}
    for pid in children_of(one.process.pid):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        name = next(name for name in ("sandbox", "gunicorn", "proxyd") if name.encode() in command)
        found[name] = environment_of(pid)
    ours = {row.name for row in SETTINGS}
    assert set(found) == {"sandbox", "gunicorn", "proxyd"}
    assert not ours & set(found["sandbox"])
    assert "PGAPPNAME" not in found["sandbox"]
    for name in ("gunicorn", "proxyd"):
        assert found[name].get("SECRET_KEY") == (key if name == "gunicorn" else None)
        assert found[name]["PGAPPNAME"] == "router"
        assert not [setting for setting in found[name] if setting.startswith("ROUTER_ADMIN_")]
    for environ in found.values():
        assert "PATH" in environ
        assert "CLOUD_PASSWORD_OF_THE_SHELL" not in environ
    assert one.stop() == 0


def test_a_port_that_this_router_holds_already_is_told_so(launch: Callable[..., Launch], router: Router) -> None:
    for name, url in (("ROUTER_WEB_BIND", router.web_url), ("ROUTER_PROXY_BIND", router.proxy_url)):
        one = launch(**{name: url.removeprefix("http://")})
        assert one.process.wait(timeout=30) == 2
        assert one.said.startswith(f"{name}: 127.0.0.1:")
        assert "the router itself is running there already" in one.said
        assert one.said.count("\n") == 1


@pytest.mark.parametrize("name", ["ROUTER_WEB_BIND", "ROUTER_PROXY_BIND"])
def test_a_taken_port_is_told_with_its_variable(launch: Callable[..., Launch], sandbox_url: str, name: str) -> None:
    one = launch(**{name: sandbox_url.removeprefix("http://")})
    assert one.process.wait(timeout=30) == 2
    assert one.said.startswith(f"{name}: 127.0.0.1:")
    assert "already in use" in one.said
    assert "router itself" not in one.said
    assert one.said.count("\n") == 1


def test_a_setting_that_makes_no_sense_is_told(launch: Callable[..., Launch]) -> None:
    one = launch(ROUTER_PROXY_WORKERS="many")
    assert one.process.wait(timeout=30) == 2
    assert one.said == "ROUTER_PROXY_WORKERS must be a number from 1 to 256, not 'many'.\n"
