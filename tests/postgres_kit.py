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
    """Runs until `remove`. It refuses to run as root, so then it is `postgres`, which its package makes.

    With a `password` everybody needs one. A standby has no primary, and waits for one.
    """

    def __init__(
        self, programs: Path, *options: str, port: int = 5432, password: str = "", standby: bool = False
    ) -> None:
        self._programs = programs
        self._options = options or ("-c", "listen_addresses=")
        self._port = port
        # Not below pytest's own temporary directory: each start of another pytest closes that to all users but its own.
        self.folder = Path(tempfile.mkdtemp(prefix="router-pg-"))
        self.folder.chmod(0o711)  # routers run without root's right to go everywhere, and the socket lies in it
        self._user: int | None = None
        self._group: int | None = None
        secret, data = self.folder / "password", self.folder / "data"
        secret.write_text(password)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            self._user, self._group = account.pw_uid, account.pw_gid
            for path in (self.folder, secret):
                os.chown(path, self._user, self._group)
        words = ["-D", str(data), "-U", "router", "--no-sync", "--locale=C.UTF-8"]
        words += ["-A", "scram-sha-256", f"--pwfile={secret}"] if password else ["-A", "trust"]
        subprocess.run(
            [programs / "initdb", *words], check=True, capture_output=True, cwd=self.folder, user=self._user,
            group=self._group,
        )  # fmt: skip
        if standby:
            (data / "standby.signal").touch()
        self.process: subprocess.Popen[bytes]
        self.start()

    @property
    def socket(self) -> Path:
        return self.folder / f".s.PGSQL.{self._port}"

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
        server = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-c", f"port={self._port}"]
        server += ["-c", "fsync=off", "-c", f"unix_socket_directories={self.folder}", *self._options]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                server, stdout=log, stderr=log, cwd=self.folder, user=self._user, group=self._group
            )
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        ready = [str(self._programs / "pg_isready"), "-h", str(self.folder), "-p", str(self._port), "-q"]
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(ready, check=False).returncode != 0:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT closes all connections in good order; SIGQUIT leaves everything as it stands, as a crash does."""
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)  # a test may have stopped it
        self.process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
