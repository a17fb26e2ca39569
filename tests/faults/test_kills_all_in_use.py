"""`kill -9` of any process while all that a company uses is in use: alerts by webhook and mail, several credentials
of which some fail at times, and a provider of its own. The ledger is the invoice, and nobody is told twice or not at all.
"""

import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import requests
from alerted_kit import due, told_by_mail, told_by_webhook
from faulty import FaultyRouter, Havoc, Make
from harness import Json, children_of, eventually
from load_kit import OPENAI, Key, Load, limits_together, make_key, make_keys
from receivers_kit import RECIPIENT, MailBox, Receiver, mail_server, webhook_receiver
from reckoning import Audit, Reckoned, limits_are_watched, reckon
from sizes import SEED, chance, size

from shared import money

Tell = Callable[[object], None]
pytestmark = [pytest.mark.slow, pytest.mark.long]
HOUSE = "house"
# As the price table has that model, so that the sandbox's invoice of it is right for a provider of one's own too.
RATES = {"input_tokens": "0.05", "output_tokens": "0.4"}
# Provider, label, credential and place in the order: each fails some of the requests that begin with it.
FAILING = (
    ("openai", "hurried", "sandbox-answers-429-1of3-openai-8001", 1),
    ("openai", "away", "sandbox-answers-503-1of2-openai-8002", 1),
    ("anthropic", "refused", "sandbox-answers-401-1of2-anthropic-8003", 1),
    (HOUSE, "away", "sandbox-answers-503-1of2-house-8004", 1),
)
AFTER_THEM = 2
AT_A_TIME = 6  # keys that are on their way to their limits
_PLACES = ("/chat/completions", "/messages")  # where calls go; beside them the router asks how many tokens a text has


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
def mail_box() -> Iterator[MailBox]:
    with mail_server() as box:
        yield box


@pytest.fixture
def company(make: Make, receiver: Receiver, mail_box: MailBox) -> FaultyRouter:
    """A router where all of it is set up."""
    router = make(
        ROUTER_SMTP_URL=f"smtp+insecure://127.0.0.1:{mail_box.port}",
        ROUTER_SMTP_FROM="router@example.com",
        ROUTER_ALERTS_PRIVATE_ADDRESSES="127.0.0.0/8",
    )
    router.start("sandbox", "proxy", "dashboard")
    router.wait_until_ready()
    own = {"provider": HOUSE, "base_url": f"{router.sandbox_url}/v1", "credential": "sandbox-house-as-good-as-any-8000"}
    _done(router.api("POST", "/v1/providers", json=own))
    _done(router.api("PUT", f"/v1/prices/{HOUSE}/{OPENAI}", json={"rates": RATES}))
    for provider in {one[0] for one in FAILING}:
        place = f"/v1/providers/{provider}/credentials"
        (good,) = next(
            one["credentials"]
            for one in router.api("GET", "/v1/providers").json()["data"]
            if one["provider"] == provider
        )
        _done(router.api("PATCH", f"{place}/{good['id']}", json={"priority": AFTER_THEM}))
    for provider, label, credential, priority in FAILING:
        made = {"label": label, "credential": credential, "priority": priority}
        _done(router.api("POST", f"/v1/providers/{provider}/credentials", json=made))
    _done(router.api("PATCH", "/v1/alerts", json={"recipients": [RECIPIENT]}))
    _done(router.api("POST", "/v1/webhooks", json={"url": receiver.url}))
    return router


def _done(answer: requests.Response) -> Json:
    assert answer.ok, answer.text
    found: Json = answer.json()
    return found


def kill_the_dashboard(router: FaultyRouter, receiver: Receiver, source: random.Random) -> None:
    """All of it, or the one process that serves and alerts, which gunicorn replaces; at times while it waits for a
    receiver that has the message already.
    """
    if source.random() < 0.5:
        receiver.hold()
        receiver.came.acquire(timeout=source.random() * 3)
    _kill_the_dashboard(router, source)
    receiver.free.set()


def _kill_the_dashboard(router: FaultyRouter, source: random.Random) -> None:
    process = router.processes["dashboard"]
    if source.random() < 0.5 and (serving := children_of(process.pid)):
        router.kill("dashboard's worker", source.choice(serving))
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    router.killed["dashboard"] += 1
    router.start("dashboard")


def watched_keys(router: FaultyRouter, source: random.Random, count: int) -> list[Key]:
    """Keys that reach their thresholds at moments of their own."""
    return [
        make_key(
            router,
            f"watched {number}",
            spend_limit_usd=money.to_usd(source.randrange(400_000, 2_000_000)),
            spend_reset=source.choice(("never", "daily", "monthly")),
        )
        for number in range(count)
    ]


def test_kills_with_alerts_failover_and_a_provider_of_ones_own(
    company: FaultyRouter, receiver: Receiver, mail_box: MailBox, tell: Tell
) -> None:
    router, source, kills = company, chance("all in use"), size(40, 1_000)
    watched = watched_keys(router, source, size(12, 150))
    keys = [*make_keys(router), *watched]
    havoc, used, waiting = Havoc(router, source), keys[: -len(watched)] + watched[:AT_A_TIME], watched[AT_A_TIME:]
    with limits_together(router):
        with Load(router, used, seed=SEED, house=HOUSE) as load, limits_are_watched(router, watched, 0.2):
            while (killed := router.killed.total()) < kills:
                # The next one takes the place of the oldest, so that thresholds are reached from the first kill to the last.
                if waiting and (len(watched) - len(waiting)) * kills <= (killed + 1) * len(watched):
                    used[-AT_A_TIME:] = [*used[-AT_A_TIME + 1 :], waiting.pop(0)]
                # A receiver fails at times as well: what it did not take is sent again.
                if source.random() < 0.1:
                    receiver.statuses.append(source.choice((500, 503)))
                    mail_box.replies.append("451 later")
                if source.random() < 0.1:
                    kill_the_dashboard(router, receiver, source)
                else:
                    havoc.once()
            router.wait_until_ready()
            load.wait_for(20)
        found = reckon(router, load.calls, keys)
    _judge_failures(router, keys, found)
    assert any(one.served and one.name.startswith(HOUSE) for one in load.calls)
    _judge_alerts(router, receiver, mail_box, keys, tell)
    tell(f"{router.killed.total()} kills {dict(router.killed)}: {found}; {dict(load.told())}")


def _judge_failures(router: FaultyRouter, keys: list[Key], found: Reckoned) -> None:
    """Each answer of a credential that failed has a row, but for those after which the worker died before it wrote one."""
    statuses = {401, 429, 503}
    failed = Counter(
        one["status"] for one in router.invoice()["attempts"] if not one["marker"] and one["path"].endswith(_PLACES)
    )
    assert failed.keys() == statuses
    audit = Audit(router)
    try:
        written = Counter(row.status for row in audit.rows(keys) if row.status in statuses)
    finally:
        audit.close()
    lost = failed - written
    assert not written - failed, f"{written} were written, {failed} seen"
    assert lost.total() <= found.crash_rows, f"{written} were written, {failed} seen, {found}"
    assert found.retried_rows


def _judge_alerts(router: FaultyRouter, receiver: Receiver, mail_box: MailBox, keys: list[Key], tell: Tell) -> None:
    receiver.statuses.clear()
    mail_box.replies.clear()
    # One that has just started looks at everything, as each does every ten minutes.
    router.stop("dashboard")
    router.start("dashboard")
    owed, names = due(router, keys), {key.id: router.key(key.id)["name"] for key in keys}
    wanted = {(names[key_id], percent) for key_id, percent in owed.must}
    assert wanted, "no key has reached a threshold"

    def spent_by_webhook() -> set[tuple[str, int]]:
        told = told_by_webhook(list(receiver.received))
        return {(one[1], one[2]) for one in told if one[0] == "key.spend_threshold"}

    def all_told() -> bool:
        _try_now(router)
        return owed.must <= spent_by_webhook() and wanted <= told_by_mail(list(mail_box.messages)).keys()

    def nothing_waits() -> bool:
        _try_now(router)
        return not _pending(router)

    eventually(all_told, 60, "a message about each threshold")
    eventually(nothing_waits, 60, "the end of all messages")
    by_webhook, by_mail = told_by_webhook(receiver.received), told_by_mail(mail_box.messages)
    assert spent_by_webhook() <= owed.must | owed.may, "told of a threshold that was not reached"
    assert by_mail.keys() <= wanted | {(names[key_id], percent) for key_id, percent in owed.may}
    assert [thing for thing, ids in (*by_webhook.items(), *by_mail.items()) if len(ids) > 1] == [], "told twice"
    refused = [one for one in by_webhook if one[0] == "provider.credential_refused"]
    assert {one[1:3] for one in refused} == {("anthropic", "refused")}
    given_up = router.api("GET", "/v1/alerts/deliveries?status=dead").json()["data"]
    assert given_up == []
    again = len(receiver.received) - sum(len(ids) for ids in by_webhook.values())
    tell(
        f"{len(owed.must)} thresholds of {len(keys)} keys, each told once by webhook ({len(receiver.received)} came, "
        f"{again} of them again under the same id) and by mail ({len(mail_box.messages)} mails)"
    )


def _pending(router: FaultyRouter) -> list[Json]:
    listed: list[Json] = router.api("GET", "/v1/alerts/deliveries?status=pending&limit=200").json()["data"]
    return listed


def _try_now(router: FaultyRouter) -> None:
    """As people can: what waits for the minute of its mail, or for another attempt, is tried at once."""
    for one in _pending(router):
        router.api("POST", f"/v1/alerts/deliveries/{one['id']}/retry")
