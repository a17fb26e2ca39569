"""A machine that does not come back, with requests in flight: they keep nobody from theirs for ever."""

from collections.abc import Callable

import pytest
from machines_kit import Machine, Machines, ask, held_by

from proxyd.accounting.machines import LOST_CHECK_SECONDS, LOST_SECONDS
from shared.counters import Admitted, Decision, SpendHeld, TooManyConcurrent
from shared.keys import NewKey

MakeKey = Callable[..., tuple[str, NewKey]]


@pytest.fixture
def limited(make_key: MakeKey) -> None:
    """Some key limits its requests at once."""
    make_key(max_concurrent_requests=1)


def one_more(machine: Machine, bound: int = 0) -> Decision:
    """Of a key that may have one in flight."""
    return ask(machine, bound, max_concurrent_requests=1)


def stay_away(machines: Machines) -> None:
    """B, for longer than it is waited for."""
    machines.b.rounds(2)
    machines.b.go_away()
    machines.wait_until_away()
    wait_longer(machines)


def wait_longer(machines: Machines) -> None:
    machines.rounds(int(LOST_CHECK_SECONDS))  # it is seen to be away
    machines.clock.forward(LOST_SECONDS)
    for _ in range(4):
        machines.rounds(4)
        machines.a.rest(*machines.a.workers)


def test_its_requests_in_flight_are_given_up_and_its_money_stays_held(machines: Machines, limited: None) -> None:
    held_by(machines.b, 500)
    machines.b.rounds(2)
    machines.b.go_away()
    machines.wait_until_away()
    assert one_more(machines.a) == TooManyConcurrent(1, 1), "it may come back in a moment"
    generation = machines.generations()[0]
    wait_longer(machines)
    assert isinstance(ask(machines.a, 9_501), SpendHeld)
    assert isinstance(one_more(machines.a, 100), Admitted)
    assert machines.a.spent() == (0, 600)
    wait_longer(machines)
    assert machines.generations()[0] == generation + 1, "once"
    machines.b.come_back()
    machines.rest()
    assert machines.a.spent() == (0, 600)
    assert one_more(machines.a) == one_more(machines.b) == TooManyConcurrent(1, 2)


def test_what_it_admitted_last_counts_though_it_could_not_post_it(machines: Machines, limited: None) -> None:
    machines.b.rounds(2)
    held_by(machines.b, 500)
    machines.b.go_away()
    machines.wait_until_away()
    assert one_more(machines.a) == TooManyConcurrent(1, 1)
    wait_longer(machines)
    assert isinstance(one_more(machines.a), Admitted)


def test_one_that_had_nothing_in_flight_changes_nothing(machines: Machines, limited: None) -> None:
    (seq,) = held_by(machines.b, 500)
    machines.b.workers[0].settle(seq, 5)
    machines.b.workers[0].accounting.flush()
    generations = machines.generations()
    stay_away(machines)
    assert machines.generations() == generations


def test_nor_does_one_where_no_key_has_such_a_limit(machines: Machines, make_key: MakeKey) -> None:
    make_key()
    held_by(machines.b, 500)
    generations = machines.generations()
    stay_away(machines)
    assert machines.generations() == generations


def test_nor_does_one_that_is_cut_off_from_the_database_alone(machines: Machines, limited: None) -> None:
    """Its workers go on, as the counters tell."""
    first, second, _ = held_by(machines.b, 500, 600, 700)
    machines.b.rounds(2)
    generations = machines.generations()
    machines.b.away = True
    machines.wait_until_away()
    for seq in (first, second):
        machines.clock.forward(LOST_SECONDS - 60)
        machines.b.workers[0].settle(seq, 5)
        machines.b.workers[0].accounting.flush()
        machines.rounds(8)
    assert machines.generations() == generations
    assert isinstance(ask(machines.b, 0), Admitted)
