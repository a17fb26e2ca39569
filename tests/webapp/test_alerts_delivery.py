"""How messages reach their receivers: again until they are taken, by one of many, and nobody held up by anybody."""

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from alerts_kit import messages
from dashboard_kit import Api, Clock
from flask import Flask
from receivers_kit import RECIPIENT, MailBox, Receiver, webhook_receiver

from shared.config import Settings
from webapp.alerting import loop
from webapp.alerting.deliverer import ATTEMPT_FOR, MOST_ATTEMPTS, Deliverer, pause_after
from webapp.alerting.loop import PAUSE_SECONDS, Lanes


@pytest.fixture
def settings(alerting: Settings) -> Settings:
    return alerting


def test_what_is_not_taken_is_tried_again_over_restarts(
    app: Flask, api: Api, clock: Clock, hook: dict[str, Any], receiver: Receiver, deliver: Callable[[], int]
) -> None:
    receiver.statuses += [500, 302]
    receiver.headers["Location"] = "http://127.0.0.1:1/elsewhere"
    api("POST", f"/v1/webhooks/{hook['id']}/test")
    assert [deliver(), deliver()] == [1, 0]
    (row,) = messages(app)
    assert (row.status, row.response_status, row.error) == ("pending", 500, "It answered 500.")
    assert row.next_at == clock.now + pause_after(1)
    clock.forward(seconds=10)
    assert deliver() == 1
    assert "redirects elsewhere (302)" in (messages(app)[0].error or "")
    clock.forward(seconds=29)
    assert deliver() == 0
    clock.forward(seconds=1)
    assert deliver() == 1
    (row,) = messages(app)
    assert (row.status, row.response_status, row.error, row.attempts) == ("delivered", 204, None, 3)
    first, *others = receiver.received
    assert len(others) == 2
    assert {one.headers["webhook-id"] for one in receiver.received} == {row.id}
    assert {one.body for one in receiver.received} == {first.body}
    assert others[-1].headers["webhook-timestamp"] != first.headers["webhook-timestamp"]
    assert others[-1].is_signed_by(hook["secret"])


def test_what_nobody_takes_is_given_up_and_can_be_tried_by_hand(
    app: Flask, api: Api, clock: Clock, hook: dict[str, Any], receiver: Receiver, deliver: Callable[[], int]
) -> None:
    receiver.statuses += [503] * MOST_ATTEMPTS
    api("POST", f"/v1/webhooks/{hook['id']}/test")
    began = clock.now
    for _ in range(MOST_ATTEMPTS):
        assert deliver() == 1
        clock.now = messages(app)[0].next_at
    (row,) = messages(app)
    assert (row.status, row.attempts) == ("dead", MOST_ATTEMPTS)
    assert timedelta(hours=24) < (row.ended_at or began) - began < timedelta(hours=30)
    clock.forward(days=2)
    assert deliver() == 0
    (told,) = api("GET", f"/v1/webhooks/{hook['id']}/deliveries?status=dead").get_json()["data"]
    assert (told["error"], told["next_at"]) == ("It answered 503.", None)
    assert api("POST", f"/v1/alerts/deliveries/{row.id}/retry").get_json()["status"] == "pending"
    assert deliver() == 1
    assert messages(app)[0].status == "delivered"
    assert api("POST", f"/v1/alerts/deliveries/{row.id}/retry").get_json()["code"] == "delivered"


def test_mail_is_tried_again_too(
    app: Flask, api: Api, clock: Clock, mail_box: MailBox, deliver: Callable[[], int]
) -> None:
    api("PATCH", "/v1/alerts", {"recipients": [RECIPIENT, "second@example.com"]})
    mail_box.replies += ["451 try later, sk-proxy-" + "0" * 64]
    assert len(api("POST", "/v1/alerts/test").get_json()["data"]) == 2
    assert deliver() == 2
    failed, taken = sorted(messages(app), key=lambda row: row.status, reverse=True)
    assert taken.status == "delivered"
    assert failed.error == "The mail server refuses it (451): try later, sk-proxy-0000..."
    clock.forward(seconds=10)
    assert deliver() == 1
    assert {mail["To"] for mail in mail_box.messages} == {RECIPIENT, "second@example.com"}
    assert {mail["Message-ID"] for mail in mail_box.messages} == {f"<{row.id}@example.com>" for row in messages(app)}


def test_an_attempt_whose_process_dies_is_made_again_with_the_same_id(
    app: Flask, api: Api, clock: Clock, hook: dict[str, Any], receiver: Receiver, deliver: Callable[[], int]
) -> None:
    """Killed after the receiver had it and before that was written; `test_alerts_processes` kills a real process."""

    class Killed(BaseException):
        pass

    def die(_: object) -> None:
        raise Killed

    api("POST", f"/v1/webhooks/{hook['id']}/test")
    with pytest.raises(Killed):
        Deliverer(app, sent=die).deliver_all()
    assert deliver() == 0  # it may still be at it
    clock.now += ATTEMPT_FOR
    assert deliver() == 1
    assert [one.headers["webhook-id"] for one in receiver.received] == [messages(app)[0].id] * 2


def test_a_slow_receiver_holds_up_nobody(app: Flask, api: Api, hook: dict[str, Any], receiver: Receiver) -> None:
    with webhook_receiver() as quick:
        other = api("POST", "/v1/webhooks", {"url": quick.url}).get_json()
        receiver.hold()
        for one in (hook, other, hook, other):
            api("POST", f"/v1/webhooks/{one['id']}/test")
        lanes = Lanes(Deliverer(app))
        lanes.deliver_due()
        assert receiver.came.acquire(timeout=10)
        for _ in range(2):
            assert quick.came.acquire(timeout=10)
        lanes.deliver_due()  # nothing more for the slow one meanwhile
        assert len(receiver.received) == 1
        receiver.free.set()
        assert receiver.came.acquire(timeout=10)
        join_senders()
    assert {row.status for row in messages(app)} == {"delivered"}


def join_senders() -> None:
    """Wait for all attempts under way."""
    for thread in threading.enumerate():
        if thread.name == "alerts-send":
            thread.join(10)


def test_a_receiver_that_fails_is_left_alone_for_a_while(
    app: Flask, api: Api, hook: dict[str, Any], receiver: Receiver
) -> None:
    """However much is due for it: each attempt would fail as the first did."""
    steady = [0.0]
    receiver.statuses.append(500)
    for _ in range(3):
        api("POST", f"/v1/webhooks/{hook['id']}/test")
    lanes = Lanes(Deliverer(app), monotonic=lambda: steady[0])
    for seconds, received in ((0.0, 1), (PAUSE_SECONDS - 1, 1), (1.0, 3)):
        steady[0] += seconds
        lanes.deliver_due()
        join_senders()
        assert len(receiver.received) == received


def test_one_process_of_a_data_directory_does_it(
    app: Flask, api: Api, settings: Settings, hook: dict[str, Any], receiver: Receiver
) -> None:
    api("POST", f"/v1/webhooks/{hook['id']}/test")
    stop, at_once = threading.Event(), threading.Event()
    at_once.set()
    first = threading.Thread(target=loop.run, args=(app, stop))
    first.start()
    assert receiver.came.acquire(timeout=10)
    loop.run(app, at_once)  # comes back without the lock
    assert loop._take(settings.data_dir / loop.LOCK, at_once) is None
    stop.set()
    first.join(10)
    join_senders()
    lock = loop._take(settings.data_dir / loop.LOCK, at_once)
    assert lock is not None
    os.close(lock)
    assert [row.status for row in messages(app)] == ["delivered"]


def test_one_attempt_is_made_by_one_of_many(app: Flask, api: Api, hook: dict[str, Any], receiver: Receiver) -> None:
    api("POST", f"/v1/webhooks/{hook['id']}/test")
    together = threading.Barrier(4)
    made: list[object] = []

    def race() -> None:
        together.wait()
        made.append(Deliverer(app).deliver_next(("webhook", hook["id"])))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, made)) == ["None", "None", "None", "True"]
    assert len(receiver.received) == 1


def test_both_secrets_sign_while_one_takes_the_place_of_the_other(
    api: Api, clock: Clock, hook: dict[str, Any], receiver: Receiver, deliver: Callable[[], int]
) -> None:
    fresh = api("POST", f"/v1/webhooks/{hook['id']}/rotate").get_json()
    assert fresh["previous_secret_until"] == "2026-11-25T12:00:00Z"
    for expected in ([True, True], [True, False]):
        api("POST", f"/v1/webhooks/{hook['id']}/test")
        assert deliver() == 1
        assert [receiver.received[-1].is_signed_by(one["secret"]) for one in (fresh, hook)] == expected
        clock.forward(hours=25)


def test_every_old_secret_signs_until_its_own_end(
    api: Api, clock: Clock, hook: dict[str, Any], receiver: Receiver, deliver: Callable[[], int]
) -> None:
    """S2: another rotation within a day ends no secret that was promised to sign."""
    secrets = [hook["secret"]]
    for _ in range(2):
        clock.forward(hours=10)
        secrets.append(api("POST", f"/v1/webhooks/{hook['id']}/rotate").get_json()["secret"])
    for expected in ([True, True, True], [False, True, True], [False, False, True]):
        api("POST", f"/v1/webhooks/{hook['id']}/test")
        assert deliver() == 1
        assert [receiver.received[-1].is_signed_by(one) for one in secrets] == expected
        clock.forward(hours=15)
    for _ in range(10):
        assert api("POST", f"/v1/webhooks/{hook['id']}/rotate").status_code == 200
    refused = api("POST", f"/v1/webhooks/{hook['id']}/rotate")
    assert (refused.status_code, refused.get_json()["code"]) == (409, "too_many_secrets")
    clock.forward(hours=25)
    assert api("POST", f"/v1/webhooks/{hook['id']}/rotate").status_code == 200
