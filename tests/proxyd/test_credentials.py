"""Which credential goes first, which is next, which rest; and what the database is told of it."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from proxyd.credentials import (
    LONGEST_REST_SECONDS,
    PROBE_SECONDS,
    REFUSED_SECONDS,
    USUAL_REST_SECONDS,
    Credential,
    CredentialHealth,
    CredentialRefusals,
    ProviderCredentials,
    Told,
)
from proxyd.gateway.failover import _retry_after
from shared.models import CredentialRefusal, ProviderCredential

SET_AT = datetime(2026, 3, 1, tzinfo=UTC)


def one(name: str, weight: int = 1, priority: int = 1) -> Credential:
    return Credential(name, f"secret-of-{name}", SET_AT, name, name[-4:], weight, priority)


class World:
    def __init__(self) -> None:
        self.at = 1000.0
        self.told: list[tuple[str, bool]] = []
        self.health = CredentialHealth(
            lambda credential, told: self.told.append((credential.id, told is not None)), now=lambda: self.at
        )

    def of(self, *credentials: Credential) -> ProviderCredentials:
        return ProviderCredentials(credentials, self.health)


@pytest.fixture
def world() -> World:
    return World()


def test_it_works(world: World) -> None:
    """Shares are exact over a whole round, and come mixed."""
    chosen = [world.of(a, b).choose(in_order=False).id for a, b in [(one("a"), one("b", 3))]]
    assert chosen == ["b"]
    several = world.of(one("a", 2), one("b", 1), one("c", 3), one("d", 100, priority=2))
    order = [several.choose(in_order=False).id for _ in range(60)]
    assert Counter(order) == {"a": 20, "b": 10, "c": 30}
    assert max(len(run) for run in "".join(order).replace("a", " ").replace("b", " ").split()) <= 2
    assert {several.choose(in_order=True).id for _ in range(5)} == {"a"}


def test_one_alone_is_not_chosen(world: World) -> None:
    only = one("a")
    several = world.of(only)
    assert several.only is only
    world.health.refused(only, 401, "")
    assert several.choose(in_order=False) is only
    assert world.of(only, one("b")).only is None


def test_what_is_told_to_wait_rests_so_long(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    for seconds, rests in [(None, USUAL_REST_SECONDS), (30.0, 30.0), (-5.0, 0.0), (1e9, LONGEST_REST_SECONDS)]:
        world.health.told_to_wait(a, seconds)
        if rests:
            assert several.choose(in_order=False) is b
        world.at += rests
        assert several.choose(in_order=False) is a
        world.health.works(a)  # which was tried
        assert world.health.resting == {}
    assert world.told == []  # nobody has to know


def test_the_others_wait_for_the_one_that_tries_it_again(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.refused(a, 401, "no")
    world.health.refused(a, 401, "no")
    assert world.told == [("a", True)]
    assert several.choose(in_order=False) is b
    world.at += REFUSED_SECONDS
    assert several.choose(in_order=False) is a
    assert several.choose(in_order=False) is b
    world.at += PROBE_SECONDS  # nothing has been heard of that one
    assert several.choose(in_order=True) is a
    world.health.refused(a, 401, "no")
    assert several.choose(in_order=False) is b
    world.health.works(a)
    assert world.told == [("a", True), ("a", True), ("a", False)]
    assert several.choose(in_order=False) is a


def test_an_answer_from_before_does_not_end_a_rest(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.told_to_wait(a, 30.0)
    world.health.works(a)
    assert several.choose(in_order=False) is b
    world.at += 30
    world.health.works(a)
    assert world.health.resting == {}


def test_where_all_rest_the_one_that_is_free_first_is_asked(world: World) -> None:
    a, b, c = one("a"), one("b"), one("c", priority=2)
    several = world.of(a, b, c)
    for credential, seconds in [(a, 30.0), (b, 10.0), (c, 20.0)]:
        world.health.told_to_wait(credential, seconds)
    assert several.choose(in_order=False) is b
    assert several.following([b]) is None
    world.at += 25
    assert several.following([b]) is c
    assert several.following([c]) is b


def test_the_next_one_was_not_tried_and_is_taken(world: World) -> None:
    a, b, c = one("a"), one("b"), one("c", priority=2)
    several = world.of(c, b, a)
    assert several.following([a]) is b
    assert several.following([a, b]) is c
    assert several.following([a, b, c]) is None
    world.health.told_to_wait(b, 10.0)
    assert several.following([a]) is c


def test_a_replaced_credential_begins_anew(world: World) -> None:
    old = one("a")
    world.health.refused(old, 401, "no")
    new = Credential("a", "another secret", SET_AT)
    assert world.health.until(old) > 0
    assert world.health.until(new) == 0


def test_what_another_worker_heard_counts_from_then(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.was_refused(a, datetime.fromtimestamp(world.at - REFUSED_SECONDS + 5, UTC))
    assert several.choose(in_order=False) is b
    world.at += 5
    assert several.choose(in_order=False) is a
    world.health.works(a)
    assert world.told == [("a", False)]


def test_a_credential_does_not_show_itself() -> None:
    assert "secret" not in repr(one("a"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        (((b"retry-after", b"7"),), 7.0),
        (((b"retry-after", b"0.5"),), 0.5),
        (((b"retry-after", b" 7 "), (b"retry-after-ms", b"1500")), 1.5),
        (((b"retry-after", b"soon"),), None),
        (((b"retry-after", b"\xff"),), None),
        (((b"retry-after-ms", b"x"),), None),
        (((b"retry-after-ms", b"nan"),), None),
        (((b"retry-after", b"1e999"),), None),
    ],
)
def test_how_long_a_provider_asks_to_wait(headers: tuple[tuple[bytes, bytes], ...], seconds: float | None) -> None:
    assert _retry_after(headers) == seconds


def test_a_moment_is_read_as_well() -> None:
    assert (_retry_after(((b"retry-after", b"Fri, 01 Jan 2100 00:00:00 GMT"),)) or 0) > 10**9


def test_the_database_is_told(any_engine: Engine) -> None:
    store = CredentialRefusals(any_engine)
    a = one("cred_a")
    told = Told(datetime(2026, 3, 2, tzinfo=UTC), 401, "Incorrect API key")
    store.write(a, told)  # it was deleted meanwhile
    row = ProviderCredential(
        id=a.id, org_id="org_1", provider="openai", sealed=b"x", last4="edit", created_at=SET_AT, created_by="t"
    )
    with Session(any_engine) as session:
        assert session.scalars(select(CredentialRefusal)).all() == []
        session.add(row)
        session.commit()
    for words in ("first", "second"):
        store.write(a, told._replace(words=words))
        with Session(any_engine) as session:
            (found,) = session.scalars(select(CredentialRefusal)).all()
            assert (found.status, found.words, found.at, found.set_at) == (401, words, told.at, SET_AT)
    store.write(a, None)
    with Session(any_engine) as session:
        assert session.scalars(select(CredentialRefusal)).all() == []
