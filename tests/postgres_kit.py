"""PostgreSQL servers for tests, each in a temporary directory of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server(
    program: str, *options: str, port: int = 5432, password: str = "", standby: bool = False
) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """The folder of its socket, and the process. It refuses to run as root.

    With a `password` everybody needs one. A standby has no primary, and waits for one.
    """
    programs = Path(program).resolve().parent
    # Not below pytest's own temporary directory: each start of another pytest closes that to all users but its own.
    home = Path(tempfile.mkdtemp(prefix="router-pg-"))
    user: int | None = None
    group: int | None = None
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        user, group = account.pw_uid, account.pw_gid
    (home / "password").write_text(password)
    data = home / "data"
    words: list[str | Path] = ["-D", data, "-U", "router", "--no-sync", "--locale=C.UTF-8"]
    words += ["-A", "scram-sha-256", f"--pwfile={home / 'password'}"] if password else ["-A", "trust"]
    if user is not None and group is not None:
        os.chown(home, user, group)
        os.chown(home / "password", user, group)
    subprocess.run([programs / "initdb", *words], check=True, capture_output=True, cwd=home, user=user, group=group)
    if standby:
        (data / "standby.signal").touch()
    server: Sequence[str | Path] = [programs / "postgres", "-D", data, "-c", f"port={port}", "-c", "fsync=off"]
    server = [*server, "-c", f"unix_socket_directories={home}", *options]
    with (
        (home / "log").open("w") as log,
        subprocess.Popen(server, stdout=log, stderr=log, cwd=home, user=user, group=group) as process,
    ):
        try:
            ready: list[str | Path] = [programs / "pg_isready", "-h", home, "-p", str(port), "-q"]
            for _ in range(200):
                if subprocess.run(ready, check=False).returncode == 0:
                    break
                time.sleep(0.05)
            yield home, process
        finally:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGCONT)
    shutil.rmtree(home, ignore_errors=True)
