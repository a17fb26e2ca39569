"""However the router is started, what cannot work ends it with one sentence, status 2 and no traceback."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from harness import ROOT, clean_environment, free_port
from redis_kit import RedisServer

from shared.counters.redis.script import FORMAT, META
from shared.probe import ANSWER_SECONDS

PASSWORD = "pa55-of-somebody"
WAYS = {
    "webapp": ["-m", "webapp"],
    "proxyd": ["-m", "proxyd"],
    "flask": ["-m", "flask", "--app", "wsgi", "users", "create", "a@example.com"],
    "bootstrap": ["-m", "flask", "--app", "wsgi", "bootstrap"],
}
STARTS = ("webapp", "proxyd", "bootstrap")  # a command of flask comes to a storage in the same way as the last one
SETTINGS = {
    "ROUTER_LIMITS_URL": "redis://:secret@",
    "ROUTER_ENCRYPTION_KEY": ",",
    "DATABASE_URL": "sqlite:///:memory:",
    "ROUTER_DATA_DIR": "/etc/hostname",
    "ROUTER_PROXY_WORKERS": "1000000000",
    "ROUTER_ADMIN_EMAIL": "@",
    "ROUTER_JOURNAL_SYNC": "sometimes",
    "SECRET_KEY_FILE": "/nowhere/at/all",
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings under which everything starts."""
    return clean_environment() | {
        "ROUTER_DATA_DIR": str(tmp_path / "data"),
        "ROUTER_WEB_BIND": f"127.0.0.1:{free_port()}",
        "ROUTER_PROXY_BIND": f"127.0.0.1:{free_port()}",
    }


def sentence_of(command: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert PASSWORD not in done.stderr
    return done.stderr


def refusal(way: str, environ: dict[str, str]) -> str:
    """The last line that is said; before it nothing but what the counters log."""
    *logged, told = sentence_of([sys.executable, *WAYS[way]], environ).splitlines()
    assert [line for line in logged if not line.startswith("counters unavailable")] == []
    return told


# All of them read the settings in the same place (tests/shared/test_config.py), so the dear ones need not try them all.
BY = [
    *(("proxyd", name) for name in sorted(SETTINGS)),
    *((way, name) for way in ("webapp", "flask") for name in ("DATABASE_URL", "ROUTER_DATA_DIR", "SECRET_KEY_FILE")),
]


@pytest.mark.parametrize(("way", "name"), BY)
def test_it_works(environ: dict[str, str], way: str, name: str) -> None:
    assert refusal(way, {**environ, name: SETTINGS[name]}).startswith(name)


@pytest.mark.skipif(
    shutil.which("make") is None or not (ROOT / ".venv" / "bin" / "python").exists(),
    reason="needs make and its environment",
)
def test_make_ends_with_the_same_sentence_and_a_line_of_its_own(environ: dict[str, str], tmp_path: Path) -> None:
    environ["ROUTER_PROXY_WORKERS"] = "many"
    # The recipe alone, on the Python of this test run: installing is none of this test's business.
    told = sentence_of(["make", "--no-print-directory", "-o", ".venv/.installed", "-C", str(ROOT), "run"], environ)
    first, *rest = told.splitlines()
    assert first == "ROUTER_PROXY_WORKERS must be a number from 1 to 256, not 'many'."
    assert len(rest) <= 1


def test_gunicorn_gives_up_instead_of_starting_workers_for_ever(environ: dict[str, str]) -> None:
    environ["SECRET_KEY"] = "short"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        "webapp/serving.py",
        "--bind",
        environ["ROUTER_WEB_BIND"],
    ]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode != 0
    assert "SECRET_KEY must have at least" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("way", STARTS)
def test_a_database_that_refuses_is_told(environ: dict[str, str], way: str) -> None:
    environ["DATABASE_URL"] = f"postgresql://somebody:{PASSWORD}@127.0.0.1:{free_port()}/db"
    told = refusal(way, environ)
    assert told.startswith("DATABASE_URL: PostgreSQL at 127.0.0.1:")
    assert "onnection refused" in told


@pytest.mark.slow
def test_a_server_that_accepts_and_never_answers_is_given_up_in_time(environ: dict[str, str]) -> None:
    """The database by all ways, and that of the counters; all at once, because each waits out the time."""
    told: dict[tuple[str, str], str] = {}
    took: dict[tuple[str, str], float] = {}
    with socket.create_server(("127.0.0.1", 0), backlog=32) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        urls = {
            "DATABASE_URL": f"postgresql://somebody:{PASSWORD}@{at}/db",
            "ROUTER_LIMITS_URL": f"redis://:{PASSWORD}@{at}",
        }

        def ask(setting: str, way: str) -> None:
            begun = time.monotonic()
            told[setting, way] = refusal(way, {**environ, setting: urls[setting]})
            took[setting, way] = time.monotonic() - begun

        asked = [*(("DATABASE_URL", way) for way in STARTS), ("ROUTER_LIMITS_URL", "proxyd")]
        threads = [threading.Thread(target=ask, args=one) for one in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for one in asked:
        assert told[one].startswith(f"{one[0]}: {'Redis' if 'LIMITS' in one[0] else 'PostgreSQL'} at 127.0.0.1:")
        assert f"does not answer within {ANSWER_SECONDS} seconds" in told[one]
        assert ANSWER_SECONDS <= took[one] < ANSWER_SECONDS + 30  # Python itself starts slowly on a busy machine


@pytest.mark.parametrize("way", STARTS)
def test_a_server_of_the_counters_that_refuses_is_told(environ: dict[str, str], way: str) -> None:
    environ["ROUTER_LIMITS_URL"] = f"redis://somebody:{PASSWORD}@127.0.0.1:{free_port()}/0"
    told = refusal(way, environ)
    assert told.startswith("ROUTER_LIMITS_URL: Redis at 127.0.0.1:")
    assert "the connection is refused" in told


def test_a_server_that_another_router_uses_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    """By who makes the tables, and by a proxy whose tables are there."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    server.tell("HSET", META, "format", FORMAT, "installation", 1)
    url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
    server.tell("CONFIG", "SET", "requirepass", PASSWORD)
    try:
        for way in ("bootstrap", "proxyd"):
            told = refusal(way, {**environ, "ROUTER_LIMITS_URL": url})
            assert told.startswith("ROUTER_LIMITS_URL: the counters cannot be used")
            assert "another router's stand there" in told
    finally:
        with server.client(password=PASSWORD) as client:
            client.config_set("requirepass", "")
        server.stop()


def test_what_postgres_says_is_told_without_the_password(environ: dict[str, str], postgres: str) -> None:
    server = postgres.partition("?")[2]
    environ["DATABASE_URL"] = f"postgresql://router:{PASSWORD}@/no_such_database?{server}"
    assert 'database "no_such_database" does not exist' in refusal("webapp", environ)
    environ["DATABASE_URL"] = f"postgresql://stranger:{PASSWORD}@/postgres?{server}"
    assert 'role "stranger" does not exist' in refusal("proxyd", environ)
    environ["DATABASE_URL"] = f"postgresql://{quote(PASSWORD)}:{PASSWORD}@/postgres?{server}"
    assert 'role "***" does not exist' in refusal("webapp", environ)
    environ["DATABASE_URL"] = f"postgresql://router@/postgres?{server}&nonsense=1"
    assert "nonsense" in refusal("proxyd", environ)


@pytest.mark.parametrize("way", ["webapp", "proxyd"])
def test_an_address_that_is_not_ours_is_told(environ: dict[str, str], way: str) -> None:
    environ["ROUTER_PROXY_BIND"] = "192.0.2.1:8080"
    assert refusal(way, environ).startswith("ROUTER_PROXY_BIND: ")


def test_files_that_others_left_are_told(environ: dict[str, str], tmp_path: Path) -> None:
    """A database of another program where the counters should be; a lock that is a directory."""
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    other_db = {**environ, "ROUTER_LIMITS_URL": f"sqlite:///{tmp_path}/other.db"}
    assert refusal("bootstrap", other_db).startswith("ROUTER_LIMITS_URL: ")
    assert refusal("webapp", other_db).startswith("ROUTER_LIMITS_URL: ")
    (tmp_path / "data" / "bootstrap.lock").mkdir()
    assert refusal("webapp", environ).startswith(f"ROUTER_DATA_DIR: {tmp_path}/data/bootstrap.lock")
    assert refusal("bootstrap", environ).startswith(f"ROUTER_DATA_DIR: {tmp_path}/data/bootstrap.lock")


def test_a_database_that_is_cut_short_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "cut.db").write_bytes(b"SQLite format 3\0" + os.urandom(4000))
    environ["DATABASE_URL"] = f"sqlite:///{tmp_path}/cut.db"
    for way in ("webapp", "bootstrap"):
        assert refusal(way, environ).startswith("DATABASE_URL: ")
