"""A PostgreSQL server of our own, on a socket in a temporary directory, that tests may stop and kill."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

START_SECONDS = 20.0


class PostgresServer:
    """Runs until `remove`. It refuses to run as root, so then it is `postgres`, which its package makes."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not below pytest's own temporary directory: each start of another pytest closes that to all users but its own.
        self.folder = Path(tempfile.mkdtemp(prefix="router-pg-"))
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            self._user, self._group = account.pw_uid, account.pw_gid
            os.chown(self.folder, self._user, self._group)
        data = self.folder / "data"
        words = ["-D", str(data), "-A", "trust", "-U", "router", "--no-sync", "--locale=C.UTF-8"]
        subprocess.run(
            [programs / "initdb", *words], check=True, capture_output=True, cwd=self.folder, user=self._user,
            group=self._group,
        )  # fmt: skip
        self.process: subprocess.Popen[bytes]
        self.start()

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://router@/{database}?host={self.folder}"

    def make_database(self, name: str) -> str:
        """Its URL. The name is the test's own."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def pids(self) -> list[int]:
        """The server's first process and what it started."""
        told = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, told.split())]

    def clients(self) -> list[int]:
        """Those that serve one of the router's connections each."""
        found = []
        for pid in self.pids()[1:]:
            try:
                if b"postgres: router" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
            except OSError:
                continue  # it has ended
        return found

    def start(self) -> None:
        server = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-c", "listen_addresses="]
        server += ["-c", "fsync=off", "-c", f"unix_socket_directories={self.folder}"]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                server, stdout=log, stderr=log, cwd=self.folder, user=self._user, group=self._group
            )
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "PostgreSQL does not answer"
                time.sleep(0.05)
            else:
                return

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT closes all connections in good order; SIGQUIT leaves everything as it stands, as a crash does."""
        self.process.send_signal(number)
        self.process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
