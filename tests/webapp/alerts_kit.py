"""What the tests of alerts share beside their receivers: what keys have spent, and the messages that came of it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from dashboard_kit import Api, environment
from flask import Flask
from receivers_kit import MailBox, Received, Receiver, mail_server, webhook_receiver
from sqlalchemy import select
from usage_kit import use

from shared.config import Settings
from shared.models import AlertDelivery, ProxyKey
from webapp.alerting.deliverer import Deliverer
from webapp.alerting.evaluator import Evaluator
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing


def spend(app: Flask, org_id: str, key_id: str, dollars: float, at: datetime) -> None:
    """A request of a key that has cost so much, as the ledger writer posts it."""
    with app.app_context():
        use(org_id, key_id, round(dollars * 1_000_000_000), at.date(), model=f"m{at.timestamp()}-{dollars}")
        with writing() as session:
            session.get_one(ProxyKey, key_id).last_used_at = at


def events(received: Sequence[Received]) -> list[tuple[str, Any]]:
    """Each message's event, and the threshold of those that have one."""
    return sorted((one.document["type"], one.document["data"].get("threshold_percent")) for one in received)


def messages(app: Flask) -> list[AlertDelivery]:
    """All messages, the oldest first."""
    with app.app_context():
        return list(db.session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)))


@pytest.fixture
def mail_box() -> Iterator[MailBox]:
    with mail_server() as box:
        yield box


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
def alerting(prepared: tuple[Path, BootstrapReport], tmp_path: Path, mail_box: MailBox) -> Settings:
    """The settings of a dashboard that may send mail, and webhooks to this machine."""
    shutil.copytree(prepared[0], tmp_path / "data")
    return Settings.from_env(
        {
            **environment(tmp_path / "data"),
            "ROUTER_SMTP_URL": f"smtp+insecure://127.0.0.1:{mail_box.port}",
            "ROUTER_SMTP_FROM": "router@example.com",
            "ROUTER_ALERTS_PRIVATE_ADDRESSES": "127.0.0.0/8",
            "ROUTER_DASHBOARD_URL": "https://router.example.com",
        }
    )


@pytest.fixture
def hook(api: Api, receiver: Receiver) -> dict[str, Any]:
    """A webhook for all events."""
    answer = api("POST", "/v1/webhooks", {"url": receiver.url})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


@pytest.fixture
def look(app: Flask) -> Callable[[], int]:
    """Look at everything once, as somebody does who has just started; how much was new."""
    return lambda: Evaluator(app, lambda: 0.0).look()


@pytest.fixture
def deliver(app: Flask) -> Callable[[], int]:
    """Make every attempt that is due; how many there were."""
    return lambda: Deliverer(app).deliver_all()
