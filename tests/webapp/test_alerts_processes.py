"""Alerts through real processes and on both databases: killed between sending and writing it down, and side by side."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_kit import environment
from flask import Flask
from receivers_kit import Receiver
from sqlalchemy import func, select

from shared.config import Settings
from shared.config.mail import MailServer
from shared.models import Alert, AlertDelivery, KeySpend, ProxyKey
from shared.periods import FIRST_DAY
from webapp import HOME, create_app
from webapp.actions.alerts import Happened, raise_alerts, send_test, update_rules
from webapp.actions.keys import create_key
from webapp.actions.webhooks import create_webhook
from webapp.alerting.deliverer import ATTEMPT_FOR, Deliverer
from webapp.alerting.evaluator import Evaluator
from webapp.bootstrap import BootstrapReport
from webapp.context import Actor
from webapp.db import db, writing
from webapp.schemas.alerts import SPEND

PATIENCE_SECONDS = 60


def test_a_dashboard_that_is_killed_after_sending_sends_again(
    prepared: tuple[Path, BootstrapReport], tmp_path: Path, actor: Actor, receiver: Receiver
) -> None:
    """The dashboard as it is deployed delivers by itself; its next start makes the attempt again, under the same id."""
    shutil.copytree(prepared[0], tmp_path / "data")
    environ = {**environment(tmp_path / "data"), "ROUTER_ALERTS_PRIVATE_ADDRESSES": "127.0.0.1"}
    settings = Settings.from_env(environ)
    app = create_app(settings)
    with app.app_context():
        webhook = create_webhook(actor, {"url": receiver.url})
        (message,) = send_test(actor, webhook.view.id)
    receiver.hold()
    command = ["-m", "gunicorn", "--config", "webapp/serving.py", "--workers", "1", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, *command], cwd=HOME, env={**os.environ, **environ}, start_new_session=True
    ) as dashboard:
        try:
            assert receiver.came.acquire(timeout=PATIENCE_SECONDS)
        finally:
            os.killpg(dashboard.pid, signal.SIGKILL)
    receiver.free.set()
    with app.app_context():
        row = db.session.get_one(AlertDelivery, message.id)
        assert (row.status, row.attempts) == ("pending", 1)
    later = create_app(settings, clock=lambda: datetime.now(UTC) + ATTEMPT_FOR + timedelta(seconds=1))
    assert Deliverer(app).deliver_all() == 0
    assert Deliverer(later).deliver_all() == 1
    assert [one.headers["webhook-id"] for one in receiver.received] == [message.id] * 2
    assert all(one.is_signed_by(webhook.secret) for one in receiver.received)
    for one in (app, later):
        with one.app_context():
            assert db.session.get_one(AlertDelivery, message.id).status == "delivered"
            db.engine.dispose()
        one.extensions["counters"].close()


def test_what_several_machines_notice_at_once_is_told_once(made: tuple[Flask, BootstrapReport]) -> None:
    app, report = made
    actor = Actor(report.org_id, "system", None)
    with app.app_context():
        update_rules(actor, {"recipients": ["a@example.com", "b@example.com"]})
        create_webhook(actor, {"url": "https://hooks.example.com/1"})
    things = [Happened(SPEND, f"key_{number}", "50 %", {"n": number}, None) for number in range(5)]
    together = threading.Barrier(4)

    def notice(number: int) -> int:
        together.wait()
        with app.app_context():
            return raise_alerts(report.org_id, things if number % 2 else things[::-1])

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(notice, range(4))) == len(things)
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Alert)) == len(things)
        found = db.session.scalars(select(AlertDelivery)).all()
        told = [alert for row in found if row.channel == "webhook" for alert in row.alerts]
        assert len(told) == len(set(told)) == len(things)
        mailed = [alert for row in found if row.target == "a@example.com" for alert in row.alerts]
        assert sorted(mailed) == sorted(told)
        db.session.rollback()


def test_rows_and_messages_are_there_together_or_not_at_all(
    made: tuple[Flask, BootstrapReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who dies before the messages are made has noticed nothing, so somebody else does."""
    app, report = made
    thing = Happened(SPEND, "key_1", "50 %", {}, None)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with app.app_context():
        create_webhook(Actor(report.org_id, "system", None), {"url": "https://hooks.example.com/1"})
        with monkeypatch.context() as patch:
            patch.setattr("webapp.actions.alerts._message", die)
            with pytest.raises(KeyboardInterrupt):
                raise_alerts(report.org_id, [thing])
        assert db.session.scalar(select(func.count()).select_from(Alert)) == 0
        assert raise_alerts(report.org_id, [thing]) == 1
        assert raise_alerts(report.org_id, [thing]) == 0
        assert db.session.scalar(select(func.count()).select_from(AlertDelivery)) == 1
        db.session.rollback()


def test_many_keys_are_walked_through_and_gathered(
    made: tuple[Flask, BootstrapReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, also while a mail waits into which more is put: whoever begins to send it has all of it."""
    monkeypatch.setattr("webapp.alerting.pages.KEYS_A_PAGE", 2)
    app, report = made
    actor, at = Actor(report.org_id, "system", None), datetime.now(UTC)
    app.extensions["clock"] = lambda: at
    app.extensions["settings"] = replace(
        app.extensions["settings"], mail_server=MailServer("127.0.0.1", 1, "none"), mail_from="router@example.com"
    )
    evaluator, deliverer = Evaluator(app, lambda: 0.0), Deliverer(app)
    address = ("email", "a@example.com")

    def use(dollars: int) -> int:
        with app.app_context(), writing() as session:
            for key in session.scalars(select(ProxyKey).where(ProxyKey.spend_limit_nanos.is_not(None))):
                key.last_used_at = at
                place = {"key_id": key.id, "day": FIRST_DAY, "generation": 0, "base_nanos": 0}
                session.merge(KeySpend(**place, total_nanos=dollars * 1_000_000_000))
        return evaluator.look()

    with app.app_context():
        update_rules(actor, {"recipients": [address[1]]})
        hook = create_webhook(actor, {"url": "https://hooks.example.com/1"}).view.id
        for number in range(5):
            create_key(actor, {"name": f"key {number}", "spend_limit_usd": "10"})
    assert [use(5), use(5), use(8), use(10)] == [5, 0, 5, 5]
    assert deliverer.due() == (address, ("webhook", hook))
    at += timedelta(seconds=60)
    with app.app_context():
        first, second, third = (deliverer._begin(address) for _ in range(3))
        assert first is not None
        assert second is not None
        assert third is None
        assert len({*first.alerts, *second.alerts}) == len(first.alerts) + len(second.alerts) == 15
        assert deliverer._begin(("webhook", hook)) is not None
        db.session.rollback()
    assert deliverer.due() == (("webhook", hook),)
