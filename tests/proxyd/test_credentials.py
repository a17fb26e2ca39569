"""Which credential goes first, which is next, which rest; and when that is told."""

import math
from collections import Counter
from datetime import UTC, datetime

import pytest

from proxyd.credentials import (
    LONGEST_REST_SECONDS,
    PROBE_SECONDS,
    REFUSED_SECONDS,
    TOLD_SECONDS,
    USUAL_REST_SECONDS,
    Credential,
    CredentialHealth,
    ProviderCredentials,
)
from proxyd.gateway.retry_after import facts_in, seconds_in

SET_AT = datetime(2026, 3, 1, tzinfo=UTC)
MODEL = "gpt-4o-mini"


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
    chosen = [world.of(a, b).choose(in_order=False, model=MODEL).id for a, b in [(one("a"), one("b", 3))]]
    assert chosen == ["b"]
    several = world.of(one("a", 2), one("b", 1), one("c", 3), one("d", 100, priority=2))
    order = [several.choose(in_order=False, model=MODEL).id for _ in range(60)]
    assert Counter(order) == {"a": 20, "b": 10, "c": 30}
    assert max(len(run) for run in "".join(order).replace("a", " ").replace("b", " ").split()) <= 2
    assert {several.choose(in_order=True, model=MODEL).id for _ in range(5)} == {"a"}


def test_one_alone_is_not_chosen(world: World) -> None:
    only = one("a")
    several = world.of(only)
    assert several.only is only
    world.health.refused(only, 401, "")
    assert several.choose(in_order=False, model=MODEL) is only
    assert world.of(only, one("b")).only is None


def test_what_is_told_to_wait_rests_so_long(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    for seconds, rests in [(None, USUAL_REST_SECONDS), (30.0, 30.0), (-5.0, 0.0), (1e9, LONGEST_REST_SECONDS)]:
        world.health.told_to_wait(a, MODEL, seconds)
        if rests:
            assert several.choose(in_order=False, model=MODEL) is b
        world.at += rests
        assert several.choose(in_order=False, model=MODEL) is a
        world.health.works(a, MODEL)  # which was tried
        assert world.health.resting == {}
    assert world.told == []  # nobody has to know


def test_the_others_wait_for_the_one_that_tries_it_again(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.refused(a, 401, "no")
    world.health.refused(a, 401, "no")
    assert world.told == [("a", True)]
    assert several.choose(in_order=False, model=MODEL) is b
    world.at += REFUSED_SECONDS
    assert several.choose(in_order=False, model=MODEL) is a
    assert several.choose(in_order=False, model=MODEL) is b
    world.at += PROBE_SECONDS  # nothing has been heard of that one
    assert several.choose(in_order=True, model=MODEL) is a
    world.health.refused(a, 401, "no")
    assert several.choose(in_order=False, model=MODEL) is b
    world.health.works(a, MODEL)
    assert world.told == [("a", True), ("a", True), ("a", False)]
    assert several.choose(in_order=False, model=MODEL) is a


def test_an_answer_from_before_does_not_end_a_rest(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.told_to_wait(a, MODEL, 30.0)
    world.health.works(a, MODEL)
    assert several.choose(in_order=False, model=MODEL) is b
    world.at += 30
    world.health.works(a, MODEL)
    assert world.health.resting == {}


def test_what_waits_for_one_model_is_taken_for_another(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.told_to_wait(a, MODEL, 30.0)
    assert several.choose(in_order=False, model=MODEL) is b
    assert several.choose(in_order=False, model="gpt-4o") is a
    assert several.choose(in_order=True) is a
    assert several.following([b], MODEL) is None
    assert several.following([b], "gpt-4o") is a
    world.health.refused(a, 401, "no")  # which is so for all
    assert several.choose(in_order=True, model="gpt-4o") is b
    world.at += REFUSED_SECONDS
    world.health.works(a, "gpt-4o")
    assert several.choose(in_order=True, model="gpt-4o") is a
    assert several.choose(in_order=True, model=MODEL) is a
    assert several.choose(in_order=True, model=MODEL) is b, "one request tries it for that model"


def test_a_shorter_wait_does_not_end_a_longer_one(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.told_to_wait(a, MODEL, 60.0)
    world.health.told_to_wait(a, MODEL, 1.0)  # to what was sent at the same time
    world.at += 59
    assert several.choose(in_order=True, model=MODEL) is b
    world.at += 1
    assert several.choose(in_order=True, model=MODEL) is a
    world.health.told_to_wait(a, MODEL, 1.0)  # to the one that tried it
    world.at += 1
    assert several.choose(in_order=True, model=MODEL) is a


def test_what_is_refused_and_taken_in_turn_is_told_once_a_minute(world: World) -> None:
    a = one("a")
    for _ in range(100):
        world.health.refused(a, 401, "no")
        world.health.works(a, MODEL)
    assert world.told == [("a", True), ("a", False)]
    world.at += TOLD_SECONDS
    world.health.refused(a, 401, "no")
    assert world.told[2:] == [("a", True)]
    world.health.works(a, MODEL)
    assert world.told[3:] == [("a", False)]


def test_a_refusal_that_lasts_is_told_once_its_minute_is_over(world: World) -> None:
    """It was refused for a moment just before, so it is not told at once."""
    a = one("a")
    world.health.refused(a, 401, "no")
    world.health.works(a, MODEL)
    world.health.refused(a, 401, "no")
    assert world.told == [("a", True), ("a", False)]
    world.at += TOLD_SECONDS
    world.health.refused(a, 401, "no")
    assert world.told[2:] == [("a", True)]


def test_who_sends_nothing_changes_nothing(world: World) -> None:
    a, b = one("a"), one("b", 3)
    several = world.of(a, b)
    assert [several.first(MODEL) for _ in range(3)] == [a, a, a]
    assert [several.choose(in_order=False, model=MODEL).id for _ in range(4)] == ["b", "a", "b", "b"]
    world.health.told_to_wait(a, MODEL, 10.0)
    assert several.first(MODEL) is b
    world.at += 10
    assert [several.first(MODEL) for _ in range(2)] == [a, a]
    assert several.choose(in_order=True, model=MODEL) is a, "nobody has tried it yet"
    world.health.told_to_wait(a, MODEL, 20.0)
    world.health.told_to_wait(b, MODEL, 10.0)
    assert several.first(MODEL) is b, "which may be tried first"


def test_what_rests_no_more_is_forgotten(world: World) -> None:
    """Apps name models as they like, and whoever chooses is quick as long as nothing rests."""
    a = one("a")
    for number in range(50):
        world.health.told_to_wait(a, f"model {number}", 1.0)
    world.at += LONGEST_REST_SECONDS + 1
    world.health.told_to_wait(a, MODEL, 1.0)
    assert list(world.health.resting) == [(a, MODEL)]


def test_where_all_rest_the_one_that_is_free_first_is_asked(world: World) -> None:
    a, b, c = one("a"), one("b"), one("c", priority=2)
    several = world.of(a, b, c)
    for credential, seconds in [(a, 30.0), (b, 10.0), (c, 20.0)]:
        world.health.told_to_wait(credential, MODEL, seconds)
    assert several.choose(in_order=False, model=MODEL) is b
    assert several.following([b], MODEL) is None
    world.at += 25
    assert several.following([b], MODEL) is c
    assert several.following([c], MODEL) is b


def test_the_next_one_was_not_tried_and_is_taken(world: World) -> None:
    a, b, c = one("a"), one("b"), one("c", priority=2)
    several = world.of(c, b, a)
    assert several.following([a], MODEL) is b
    assert several.following([a, b], MODEL) is c
    assert several.following([a, b, c], MODEL) is None
    world.health.told_to_wait(b, MODEL, 10.0)
    assert several.following([a], MODEL) is c


def test_a_replaced_credential_begins_anew(world: World) -> None:
    old = one("a")
    world.health.refused(old, 401, "no")
    new = Credential("a", "another secret", SET_AT)
    assert world.health.until(old, MODEL) > 0
    assert world.health.until(new, MODEL) == 0


def test_what_another_worker_heard_counts_from_then(world: World) -> None:
    a, b = one("a"), one("b", priority=2)
    several = world.of(a, b)
    world.health.was_refused(a, datetime.fromtimestamp(world.at - REFUSED_SECONDS + 5, UTC))
    assert several.choose(in_order=False, model=MODEL) is b
    world.at += 5
    assert several.choose(in_order=False, model=MODEL) is a
    world.health.works(a, MODEL)
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
    assert seconds_in(headers) == seconds
    told = None if seconds is None else max(1, math.ceil(seconds))
    assert facts_in(headers) == ({} if told is None else {"retry_after_seconds": told})


def test_a_moment_is_read_as_well() -> None:
    far = ((b"retry-after", b"Fri, 01 Jan 2100 00:00:00 GMT"),)
    assert (seconds_in(far) or 0) > 10**9
    assert facts_in(far) == {"retry_after_seconds": 604_800}
