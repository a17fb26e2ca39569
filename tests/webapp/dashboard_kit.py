"""What the tests of the dashboard share: a clock moved by hand, and the management API as automation calls it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ADMIN, PASSWORD = "admin@example.com", "correct horse battery"
START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Clock:
    """The time of a test."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> None:
        self.now += timedelta(**length)


class Api:
    """The management API as automation calls it; `token` may be swapped for another one."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client = client
        self.token = token

    def __call__(self, method: str, path: str, document: Any = None, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        if document is not None:
            more["json"] = document
        return self.client.open(path, method=method, headers=headers, **more)

    def create(self, **fields: Any) -> dict[str, Any]:
        """A new key, its object with the secret in `key`."""
        response = self("POST", "/v1/keys", {"name": "a key", **fields})
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.get_json()
        return created


# A key with something in every field.
FULL = {
    "name": "backend-prod",
    "allowed_providers": ["openai", "gemini"],
    "allowed_models": ["gpt-4o*", "gemini/gemini-2.5-flash"],
    "allowed_ips": ["10.0.0.0/8", "2001:db8::1"],
    "rate_limit_rpm": 60,
    "rate_limit_tpm": 30_000,
    "max_concurrent_requests": 8,
    "spend_limit_usd": "12.5",
    "spend_reset": "weekly",
    "expires_at": "2027-01-01T02:00:00+02:00",
    "tags": ["search", "team a"],
    "owner_email": "ada@example.com",
    "note": "One line\nand another",
}


def field_errors(response: TestResponse) -> dict[str, str]:
    assert response.status_code == 422, response.text
    assert response.mimetype == "application/problem+json"
    return {error["field"]: error["message"] for error in response.get_json()["errors"]}


def environment(data_dir: Path) -> dict[str, str]:
    return {
        "ROUTER_DATA_DIR": str(data_dir),
        "ROUTER_ADMIN_EMAIL": ADMIN,
        "ROUTER_ADMIN_PASSWORD": PASSWORD,
        "SECRET_KEY": "a secret of the tests, long enough",
    }
