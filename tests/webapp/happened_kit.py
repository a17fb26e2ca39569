"""What the tests of requests and refusals share: rows as the router writes them."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from dashboard_kit import START
from flask import Flask
from sqlalchemy import insert
from verify_kit import row as ledger_row
from werkzeug.test import TestResponse

from shared.models import Refusal, UsageRecord
from webapp.db import writing


class Activity:
    """Of one organisation."""

    def __init__(self, app: Flask, org_id: str) -> None:
        self._app = app
        self._org_id = org_id

    def sent(self, key_id: str, request_id: str, seconds: int = 0, **fields: Any) -> str:
        """A request that was sent so long after the start of the clock."""
        at = START + timedelta(seconds=seconds)
        told = {"org_id": self._org_id, "admitted_at": at, "sent_status": 200, "first_byte_ms": 3, **fields}
        with self._app.app_context(), writing() as session:
            session.execute(insert(UsageRecord), [ledger_row(key_id, START.date(), id=request_id, **told)])
        return request_id

    def refused(self, key_id: str, reason: str, seconds: int = 0, **fields: Any) -> str:
        """A refusal, with the id of its request."""
        told = {
            "key_id": key_id, "reason": reason, "org_id": self._org_id, "count": 1, "status": 403, "model": "gpt-4.1",
            "last_at": START + timedelta(seconds=seconds), "sentence": "It may not.", "client_ip": "203.0.113.7",
            "request_id": f"req_{reason}_{key_id[-6:]}", **fields,
        }  # fmt: skip
        with self._app.app_context(), writing() as session:
            session.execute(insert(Refusal), [told])
        return str(told["request_id"])


@pytest.fixture
def happened(app: Flask, org_id: str) -> Activity:
    return Activity(app, org_id)


def shown(page: TestResponse) -> list[str]:
    """What the rows of a list open, in order."""
    assert page.status_code == 200, page.text
    return re.findall(r'hx-get="/requests/([^"]+)" hx-target="#modal-body"', page.text)


def words(page: TestResponse) -> str:
    """The text of a page without its marks."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.text)))
