"""Before anything is started on a PostgreSQL it is asked whether it can be used; each reason has its sentence."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from postgres_kit import PostgresServer
from redis_kit import Wire, free_ports

from shared.config import SettingError, Settings
from shared.database_probe import OLDEST, check_database, finding_of, shown_url
from shared.models import REVISION

PASSWORD = "pa55-of-somebody"
DRIVER = "postgresql+psycopg://"


def problem(url: str, *, filled: bool = False) -> str:
    found = finding_of(url, filled=filled).problem
    assert found is not None
    assert PASSWORD not in found
    assert "\n" not in found
    assert not found.endswith(".")
    return found


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty database of which a test may do what it likes."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE probed")
        connection.execute("CREATE ROLE guest LOGIN")
    yield postgres.replace("postgresql://", DRIVER).replace("/postgres?", "/probed?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE probed")
        connection.execute("DROP ROLE guest")


def run(database: str, *statements: str) -> None:
    with psycopg.connect(database.replace(DRIVER, "postgresql://"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def standby(require: Callable[[str], str]) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """The port of a standby to which nobody comes without a password, and its process."""
    (port,) = free_ports(1)
    words = ("-c", "listen_addresses=127.0.0.1")
    programs = Path(require("postgres")).resolve().parent
    server = PostgresServer(programs, *words, port=port, password=PASSWORD, standby=True)
    try:
        yield port, server.process
    finally:
        server.remove()


def test_it_works(database: str) -> None:
    assert finding_of(database).problem is None
    run(database, "CREATE TABLE alembic_version (version_num text)")
    run(database, f"INSERT INTO alembic_version VALUES ('{REVISION}')")
    for filled in (False, True):
        assert finding_of(database, filled=filled).problem is None


def test_who_may_not_come_in_is_told_why(standby: tuple[int, object], database: str) -> None:
    port, _ = standby
    (free,) = free_ports(1)
    at = f"127.0.0.1:{port}/postgres"
    assert 'password authentication failed for user "router"' in problem(f"{DRIVER}router:{PASSWORD}x@{at}")
    assert "no password supplied" in problem(f"{DRIVER}router@{at}")
    assert "does not support SSL" in problem(f"{DRIVER}router:{PASSWORD}@{at}?sslmode=require")
    assert "onnection refused" in problem(f"{DRIVER}router:{PASSWORD}@127.0.0.1:{free}/postgres")
    assert "failed to resolve host" in problem(f"{DRIVER}router:{PASSWORD}@no-such-host.invalid/postgres")
    assert "No such file" in problem(f"{DRIVER}router:{PASSWORD}@/postgres?host=/nowhere")
    assert 'database "other" does not exist' in problem(database.replace("/probed?", "/other?"))
    assert 'role "nobody" does not exist' in problem(database.replace("//router@", "//nobody@"))


def test_a_standby_is_refused(standby: tuple[int, object]) -> None:
    assert "it is a standby" in problem(f"{DRIVER}router:{PASSWORD}@127.0.0.1:{standby[0]}/postgres")


def test_one_that_only_reads_is_refused(database: str) -> None:
    run(database, "ALTER DATABASE probed SET default_transaction_read_only = on")
    assert problem(database) == "default_transaction_read_only is on, so nothing can be written"


def test_another_encoding_is_refused(postgres: str, database: str) -> None:
    run(postgres, "DROP DATABASE probed")
    run(postgres, "CREATE DATABASE probed TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    assert problem(database) == "its encoding is SQL_ASCII, and needs to be UTF8"


def test_an_old_one_is_refused(postgres: str) -> None:
    """It says so itself, but for the number, which is changed on the way to us."""
    wire = Wire(Path(postgres.partition("host=")[2]) / ".s.PGSQL.5432")
    url = f"{DRIVER}router@127.0.0.1:{wire.port}/postgres"
    with psycopg.connect(postgres) as connection:
        (row,) = connection.execute("SHOW server_version").fetchall()
    for major, told in ((OLDEST - 1, f"it is version {OLDEST - 1}, and needs to be {OLDEST} or newer"), (OLDEST, None)):
        for what in ("server_version\0", "PostgreSQL "):  # as the driver is told, and as SELECT version() says
            wire.said = (f"{what}{row[0][:2]}".encode(), f"{what}{major}".encode())
            found = finding_of(url).problem
            if found == told:
                break
        assert found == told
    wire.close()


def test_rights_that_are_missing_are_told(database: str) -> None:
    guest = database.replace("//router@", "//guest@")
    assert problem(guest) == "there are no tables yet, and the user may make none in public"
    run(database, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    assert "the user may use no schema there" in problem(guest)
    run(database, "GRANT USAGE ON SCHEMA public TO guest", "CREATE TABLE alembic_version (version_num text)")
    assert finding_of(guest).problem is None
    assert "the user has no rights to its tables" in problem(guest, filled=True)


def test_tables_of_an_older_release_are_refused_and_newer_ones_are_served(database: str) -> None:
    assert "no tables yet" in problem(database, filled=True)
    run(database, "CREATE TABLE alembic_version (version_num text)")
    assert "of an older release" in problem(database, filled=True)
    run(database, "INSERT INTO alembic_version VALUES ('0000')")
    assert "of an older release" in problem(database, filled=True)
    assert finding_of(database).problem is None, "bootstrap brings old tables up"
    run(database, "UPDATE alembic_version SET version_num = '9999'")
    assert finding_of(database, filled=True).problem is None


def test_one_that_starts_up_is_waited_for() -> None:
    """It says so twice, and then something else."""
    words = ["the database system is starting up", "the database system is in recovery mode", "no such role"]

    def serve(listener: socket.socket) -> None:
        for word in list(words):
            client, _ = listener.accept()
            with client:
                client.recv(1000)
                fields = b"SFATAL\0C57P03\0M" + word.encode() + b"\0\0"
                client.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
                words.remove(word)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        at = f"127.0.0.1:{listener.getsockname()[1]}/db?sslmode=disable&gssencmode=disable"
        assert "no such role" in problem(f"{DRIVER}router@{at}")
        serving.join()
    assert words == []


@pytest.mark.slow
def test_one_that_stands_still_is_given_up_in_time(
    standby: tuple[int, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    port, process = standby
    settings = Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "data")})
    url = f"{DRIVER}router:{PASSWORD}@127.0.0.1:{port}/postgres"
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(SettingError, match=r"^DATABASE_URL: .* does not answer within 10 seconds\.$"):
            check_database(replace(settings, database_url=url), filled=True)
    finally:
        os.kill(process.pid, signal.SIGCONT)


@pytest.mark.parametrize("url", [f"{DRIVER}ann:{PASSWORD}@host/name", f"{DRIVER}ann@host/name?password={PASSWORD}"])
def test_a_url_is_shown_without_passwords(url: str) -> None:
    assert PASSWORD not in shown_url(url)
    assert shown_url(url).replace(":***", "") == f"{DRIVER}ann@host/name"
