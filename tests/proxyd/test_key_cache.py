"""Keys by the digest of their secret: loaded once, kept, and never older than whoever asks knows them to be."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography.fernet import Fernet
from key_cache_kit import DOWN, MakeKey, World
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from proxyd.key_cache import GUARD_SECONDS, NEGATIVE_SECONDS, STALE_SECONDS, KeyCache, KeysUnavailable
from proxyd.known_key import KnownKey
from proxyd.offload import OffloadTimeout
from shared.models import KeySecret, Organization, ProviderCredential, ProxyKey
from shared.sealing import Sealer


def secrets_of(known: KnownKey) -> dict[str, str]:
    """The credentials that are tried first."""
    return {slug: several.choose(in_order=True).secret for slug, several in known.credentials.items()}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def cache(engine: Engine, sealer: Sealer, world: World) -> KeyCache:
    return world.cache(engine, sealer)


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """The SQL that goes out, without what begins and ends a transaction."""
    found: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            found.append(statement)

    return found


def edit(engine: Engine, key_id: str, **fields: Any) -> None:
    with Session(engine) as session:
        key = session.get_one(ProxyKey, key_id)
        for name, value in fields.items():
            setattr(key, name, value)
        session.commit()


def found(known: KnownKey | None) -> KnownKey:
    assert known is not None
    return known


def test_it_works(cache: KeyCache, make_key: MakeKey) -> None:
    key_id, secret = make_key(rate_limit_rpm=60, allowed_ips=["10.0.0.0/8"])
    known = found(cache.find(secret.digest))
    assert (known.key.id, known.key.rate_limit_rpm, known.key.version) == (key_id, 60, 1)
    assert (secrets_of(known), known.org_version, known.valid_until) == ({"openai": "sk-real"}, 1, None)
    assert "sk-real" not in repr(known)


def test_an_entry_costs_no_statement_while_it_is_kept(
    cache: KeyCache, make_key: MakeKey, world: World, statements: list[str]
) -> None:
    _, secret = make_key()
    cache.find(secret.digest)
    statements.clear()
    for _ in range(100):
        world.at += 1
        cache.find(secret.digest)
    assert statements == []


def test_a_load_is_one_statement_and_three_more_for_what_its_organisation_shares(
    cache: KeyCache, make_key: MakeKey, statements: list[str], engine: Engine
) -> None:
    (_, first), (_, second) = make_key(), make_key()
    statements.clear()
    cache.find(first.digest)
    assert len(statements) == 4
    cache.find(second.digest)
    cache.reload(first.digest)
    assert len(statements) == 6
    shared = ("provider_credentials", "price_overrides", "custom_providers")
    assert [sql for sql in statements[4:] if any(table in sql for table in shared)] == []


def test_credentials_are_loaded_anew_when_the_organisations_version_moves(
    cache: KeyCache, make_key: MakeKey, engine: Engine, sealer: Sealer
) -> None:
    _, secret = make_key()
    cache.find(secret.digest)
    with Session(engine) as session:
        session.query(ProviderCredential).one().sealed = sealer.seal("sk-new")
        session.commit()
    assert secrets_of(found(cache.reload(secret.digest))) == {"openai": "sk-real"}
    with Session(engine) as session:
        session.query(Organization).one().policy_version = 2
        session.commit()
    known = found(cache.reload(secret.digest))
    assert (secrets_of(known), known.org_version) == ({"openai": "sk-new"}, 2)


def test_reload_tells_what_stands_there_now(cache: KeyCache, make_key: MakeKey, engine: Engine) -> None:
    key_id, secret = make_key()
    cache.find(secret.digest)
    edit(engine, key_id, rate_limit_rpm=7)
    assert found(cache.find(secret.digest)).key.rate_limit_rpm is None
    known = found(cache.reload(secret.digest))
    assert (known.key.rate_limit_rpm, known.key.version) == (7, 2)
    assert found(cache.find(secret.digest)).key.rate_limit_rpm == 7


def test_an_old_entry_is_refreshed_in_the_background_while_it_is_used(
    cache: KeyCache, make_key: MakeKey, world: World, engine: Engine
) -> None:
    key_id, secret = make_key()
    cache.find(secret.digest)
    edit(engine, key_id, name="renamed")
    world.at += GUARD_SECONDS
    calls = world.calls
    for _ in range(5):
        assert found(cache.find(secret.digest)).key.name == "app"
    gevent.sleep(0)
    assert world.calls == calls + 1
    assert found(cache.find(secret.digest)).key.name == "renamed"


def test_a_refresh_that_fails_harms_nobody(cache: KeyCache, make_key: MakeKey, world: World) -> None:
    _, secret = make_key()
    cache.find(secret.digest)
    world.down = DOWN
    world.at += GUARD_SECONDS + STALE_SECONDS
    assert cache.find(secret.digest) is not None
    gevent.sleep(0)
    world.at += GUARD_SECONDS
    assert cache.find(secret.digest) is not None
    gevent.sleep(0)


def test_an_unknown_secret_is_asked_for_once_a_second(cache: KeyCache, world: World, make_key: MakeKey) -> None:
    make_key()
    for _ in range(3):
        assert cache.find("0" * 64) is None
    assert world.calls == 1
    world.at += NEGATIVE_SECONDS
    assert cache.find("0" * 64) is None
    assert world.calls == 2


def test_a_key_that_was_deleted_is_forgotten(cache: KeyCache, make_key: MakeKey, engine: Engine) -> None:
    key_id, secret = make_key()
    cache.find(secret.digest)
    with Session(engine) as session:
        session.delete(session.get_one(ProxyKey, key_id))
        session.commit()
    assert cache.reload(secret.digest) is None
    assert cache.find(secret.digest) is None


def test_one_load_of_a_key_runs_at_a_time_and_those_who_come_meanwhile_share_the_next(
    cache: KeyCache, make_key: MakeKey, world: World, engine: Engine
) -> None:
    """What runs already may have read before an edit that they know of."""
    key_id, secret = make_key()
    with world.slow() as gate:
        first = gevent.spawn(cache.reload, secret.digest)
        gevent.sleep(0)
        rest = [gevent.spawn(cache.reload, secret.digest) for _ in range(20)]
        finding = gevent.spawn(cache.find, secret.digest)
        gevent.sleep(0)
        assert world.calls == 1
        gate.set()
        gevent.joinall([first, finding, *rest], raise_error=True, timeout=5)
    assert world.calls == 2
    assert {found(greenlet.value).key.id for greenlet in [first, finding, *rest]} == {key_id}
    cache.reload(secret.digest)
    assert world.calls == 3


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_whoever_is_cut_off_while_loading_leaves_nobody_waiting(
    cache: KeyCache, make_key: MakeKey, world: World, victim: int
) -> None:
    _, secret = make_key()
    with world.slow() as gate:
        greenlets = []
        for _ in range(3):
            greenlets.append(gevent.spawn(cache.reload, secret.digest))
            gevent.sleep(0)
        greenlets[victim].kill()
        gate.set()
        assert len(gevent.joinall(greenlets, timeout=5)) == 3
    assert cache.reload(secret.digest) is not None
    assert (cache._loading, cache._next) == ({}, {})


@pytest.mark.parametrize("failure", [DOWN, OffloadTimeout("busy")])
def test_while_the_database_is_down_a_known_key_serves_for_half_a_minute(
    cache: KeyCache, make_key: MakeKey, world: World, failure: Exception
) -> None:
    _, secret = make_key()
    cache.find(secret.digest)
    world.down = failure
    assert found(cache.reload(secret.digest)).key.name == "app"
    world.at += STALE_SECONDS - 0.1
    assert cache.reload(secret.digest) is not None
    world.at += 0.2
    with pytest.raises(KeysUnavailable):
        cache.reload(secret.digest)
    with pytest.raises(KeysUnavailable):
        cache.find("1" * 64)
    world.down = None
    assert cache.reload(secret.digest) is not None
    world.down = failure
    assert cache.reload(secret.digest) is not None


def test_a_database_whose_folder_is_gone_is_down(
    engine: Engine, cache: KeyCache, make_key: MakeKey, tmp_path: Path
) -> None:
    """A new connection makes the file where there is none: that this fails is the database's fault, like any other."""
    _, secret = make_key()
    cache.find(secret.digest)
    engine.dispose()
    shutil.rmtree(tmp_path)
    assert found(cache.reload(secret.digest)).key.name == "app"
    with pytest.raises(KeysUnavailable):
        cache.find("1" * 64)


def test_a_failure_reaches_all_who_share_it_and_the_next_load_is_unharmed(
    cache: KeyCache, make_key: MakeKey, world: World
) -> None:
    _, secret = make_key()
    world.down = DOWN
    with world.slow() as gate:
        greenlets = [gevent.spawn(cache.find, secret.digest) for _ in range(5)]
        gevent.sleep(0)
        gate.set()
        gevent.joinall(greenlets, timeout=5)
    assert all(isinstance(greenlet.exception, KeysUnavailable) for greenlet in greenlets)
    world.down = None
    assert cache.find(secret.digest) is not None


def test_a_rotated_secret_ends_with_its_grace(cache: KeyCache, make_key: MakeKey, world: World, engine: Engine) -> None:
    _, secret = make_key()
    with Session(engine) as session:
        session.get_one(KeySecret, secret.digest).valid_until = datetime.fromtimestamp(world.at + 3, UTC)
        session.commit()
    assert found(cache.find(secret.digest)).valid_until == world.at + 3
    world.at += 3
    assert cache.find(secret.digest) is None
    assert cache.reload(secret.digest) is None


def test_a_credential_that_cannot_be_opened_is_missing_not_fatal(
    engine: Engine, make_key: MakeKey, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _, secret = make_key()
    other = Sealer([Fernet.generate_key().decode()])
    cache = KeyCache(engine, other, world.offload)
    assert found(cache.find(secret.digest)).credentials == {}
    assert "credential of openai" in caplog.text
    assert "sk-real" not in caplog.text
