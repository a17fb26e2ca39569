"""A SQLite installation that has served moves to PostgreSQL, as docs/deploy.md says, and serves on."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from calls import chat, code, marker, spend_of
from harness import Router, eventually

from shared import money

pytestmark = pytest.mark.slow


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """An empty database of its own."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
        yield postgres.replace("/postgres?", "/moved?")
        connection.execute("DROP DATABASE moved WITH (FORCE)")


def test_it_works(tmp_path: Path, database: str) -> None:
    router = Router(tmp_path / "data")
    flask = ("-m", "flask", "--app", "wsgi")
    try:
        router.start_all()
        key_id, key = router.create_key(name="a", spend_limit_usd="1.00", rate_limit_rpm=100)
        _, short = router.create_key(name="b", spend_limit_usd="0.0001")
        while (answer := chat(router, short, max_tokens=64)).status_code == 200:
            pass
        assert code(answer) == "spend_exceeded"
        assert [chat(router, key, marker()).status_code for _ in range(3)] == [200] * 3
        router.stop("dashboard")
        router.stop("proxy")
        source = router.settings.database_url
        router.environ["DATABASE_URL"] = database
        router.run(*flask, "db", "upgrade")
        told = router.run(*flask, "db", "copy-from", source)
        assert "journals may hold" not in told  # a stop brings everything home
        router.start("proxy")
        router.start("dashboard")
        router.run(*flask, "ledger", "verify")
        router.wait_for_ledger(key_id, 3)
        spent = money.from_usd(spend_of(router, key_id)["spent_usd"])
        assert spent > 0
        assert code(chat(router, short, max_tokens=64)) == "spend_exceeded"
        assert chat(router, key, marker()).status_code == 200
        eventually(lambda: money.from_usd(spend_of(router, key_id)["spent_usd"]) > spent, what="a higher sum")
        router.wait_for_ledger(key_id, 4)
        router.run(*flask, "ledger", "verify")
    finally:
        router.stop_all()
    assert router.leaks() == []
