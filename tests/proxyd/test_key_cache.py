"""Looking keys up: cached, but never beyond an edit."""

import logging

import pytest
from sqlalchemy.orm import Session

from proxyd.key_cache import FRESH_SECONDS, NEGATIVE_SECONDS, STALE_SECONDS, KeyCache, KeysUnavailable
from shared.models import KeySecret, ProxyKey


class World:
    """Time, epochs, and a database that can be switched off."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.epoch = 1
        self.calls = 0
        self.down: Exception | None = None

    def offload(self, function, *arguments):
        self.calls += 1
        if self.down is not None:
            raise self.down
        return function(*arguments)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def directory(engine, sealer, world):
    return KeyCache(
        engine, sealer, lambda org: world.epoch, world.offload, monotonic=lambda: world.at, now=lambda: world.at
    )


def test_it_works(directory, make_key):
    key_id, secret = make_key(rate_limit_rpm=60, allowed_ips=["10.0.0.0/8"])
    known = directory.find(secret.digest)
    assert known is not None
    assert (known.key.id, known.key.rate_limit_rpm, known.epoch) == (key_id, 60, 1)
    assert known.credentials == {"openai": "sk-real"}


def test_a_fresh_entry_costs_no_query(directory, make_key, world):
    _, secret = make_key()
    directory.find(secret.digest)
    before = world.calls
    for _ in range(100):
        directory.find(secret.digest)
    assert world.calls == before


def test_an_entry_is_fresh_for_five_seconds_only(directory, make_key, world, engine):
    key_id, secret = make_key()
    directory.find(secret.digest)
    with Session(engine) as session:
        session.get_one(ProxyKey, key_id).name = "renamed"
        session.commit()
    world.at += FRESH_SECONDS - 0.1
    assert directory.find(secret.digest).key.name == "app"
    world.at += 0.2
    assert directory.find(secret.digest).key.name == "renamed"


def test_reload_sees_an_edit_at_once_under_the_new_epoch(directory, make_key, world, engine):
    key_id, secret = make_key()
    directory.find(secret.digest)
    with Session(engine) as session:
        session.get_one(ProxyKey, key_id).rate_limit_rpm = 7
        session.commit()
    world.epoch = 2
    known = directory.reload(secret.digest)
    assert (known.key.rate_limit_rpm, known.epoch) == (7, 2)


def test_an_edit_between_epoch_and_row_makes_the_entry_too_old_not_too_new(make_key, engine, sealer, world):
    key_id, secret = make_key()

    def epoch_then_edit(org: str) -> int:
        seen = world.epoch
        with Session(engine) as session:
            session.get_one(ProxyKey, key_id).name = "edited"
            session.commit()
        world.epoch += 1
        return seen

    directory = KeyCache(engine, sealer, epoch_then_edit, world.offload)
    known = directory.find(secret.digest)
    assert known.key.name == "edited"
    assert known.epoch < world.epoch


def test_an_unknown_secret_is_asked_for_once_a_second(directory, world, make_key):
    make_key()
    assert directory.find("0" * 64) is None
    calls = world.calls
    assert directory.find("0" * 64) is None
    assert world.calls == calls
    world.at += NEGATIVE_SECONDS
    assert directory.find("0" * 64) is None
    assert world.calls > calls


def test_while_the_database_is_down_a_known_key_serves_for_half_a_minute(directory, make_key, world, caplog):
    caplog.set_level(logging.ERROR)
    from sqlalchemy.exc import OperationalError

    _, secret = make_key()
    directory.find(secret.digest)
    world.down = OperationalError("select", {}, Exception("down"))
    world.at += STALE_SECONDS - 1
    assert directory.find(secret.digest) is not None
    world.at += 2
    with pytest.raises(KeysUnavailable):
        directory.find(secret.digest)
    with pytest.raises(KeysUnavailable):
        directory.find("1" * 64)


def test_a_rotated_secret_ends_with_its_grace(directory, make_key, world, engine):
    from datetime import UTC, datetime

    _, secret = make_key()
    with Session(engine) as session:
        session.get_one(KeySecret, secret.digest).valid_until = datetime.fromtimestamp(world.at + 3, UTC)
        session.commit()
    assert directory.find(secret.digest) is not None
    world.at += 3
    assert directory.find(secret.digest) is None


def test_a_credential_that_cannot_be_opened_is_missing_not_fatal(engine, make_key, world, caplog):
    from cryptography.fernet import Fernet

    from shared.sealing import Sealer

    _, secret = make_key()
    other = Sealer([Fernet.generate_key().decode()])
    directory = KeyCache(engine, other, lambda org: 1, world.offload)
    assert directory.find(secret.digest).credentials == {}
    assert "sk-real" not in caplog.text
