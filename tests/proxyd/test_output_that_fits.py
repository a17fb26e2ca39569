"""What a refusal says would fit: it does, whichever of two limits has refused."""

from collections.abc import Callable, Iterator

import pytest
from accounting_kit import Router, Worker
from gateway_kit import CHAT, GOOD, Answered, Gate, Provider
from sqlalchemy import Engine, text

from shared.keys import NewKey
from shared.sealing import Sealer

MORE, LESS = 5_000_000, 2_000_000  # nano-dollars; 16,000 tokens cost 9,600,000


def limit_all(gate: Gate, nanos: int) -> None:
    """What all keys may spend together, with counters that know of it."""
    with gate.engine.begin() as connection:
        connection.execute(
            text("update organizations set policy_version = policy_version + 1, spend_limit_nanos = :n"), {"n": nanos}
        )
        connection.execute(text("update accounting_state set outdated = generation"))
        version = connection.scalar(text("select policy_version from organizations"))
    gate.router.observer.publish(gate.router.database.generation(), {}, {"org_1": version})
    gate.router.rest(gate.worker)


@pytest.fixture(params=[(MORE, LESS), (LESS, MORE)])
def twice_limited(
    request: pytest.FixtureRequest, router: Router, worker: Worker, engine: Engine, sealer: Sealer,
    make_key: Callable[..., tuple[str, NewKey]], provider: Provider,
) -> Iterator[Gate]:  # fmt: skip
    of_key, of_all = request.param
    key_id, key = make_key(spend_limit_nanos=of_key)
    gate = Gate(router, worker, engine, sealer, key_id, key.raw)
    gate.open(provider.url)
    gate.store(GOOD)
    limit_all(gate, of_all)
    assert ask(gate, 1).status == 200, "from the first one on both are known"
    yield gate
    gate.pool.close()


def ask(gate: Gate, max_tokens: int) -> Answered:
    return gate.ask(CHAT | {"max_tokens": max_tokens})


def test_it_works(twice_limited: Gate) -> None:
    refused = ask(twice_limited, 16_000)
    assert refused.status == 403
    told = refused.json["error"]
    assert told["code"] == "spend_exceeded"
    fits = told["affordable_max_tokens"]
    assert f"with an output limit of {fits:,} tokens it fits" in told["message"]
    assert ask(twice_limited, fits + 200).status == 403, "what the first one held is given back meanwhile"
    assert ask(twice_limited, fits).status == 200
