"""A WebSocket's handshake is refused as a request is: in the same order, with the same facts."""

from typing import Any

import pytest
from custom_kit import edit, key_with
from gateway_kit import GOOD, Answered, Gate, Provider, answered
from sqlalchemy import delete

from shared.models import ProviderCredential

SESSIONS = (("/v1/realtime", "model=gpt-realtime"), ("/v1/responses", ""))


@pytest.fixture
def used_up(gate: Gate, provider: Provider) -> Gate:
    """A key that has sent the one request of its minute, or may spend nothing."""
    gate.open(provider.url)
    gate.store(GOOD)
    key_with(gate, rate_limit_rpm=1)
    assert gate.ask().status == 200
    return gate


def without_credentials(gate: Gate) -> None:
    edit(gate, lambda session: session.execute(delete(ProviderCredential)))


def told(got: Answered) -> tuple[int, dict[str, Any]]:
    return got.status, got.json["error"]


@pytest.mark.parametrize(("path", "query"), SESSIONS)
def test_it_works(used_up: Gate, path: str, query: str) -> None:
    def opened() -> tuple[int, dict[str, Any]]:
        return told(answered(used_up.handshake(path, query)))

    assert opened()[1]["code"] == told(used_up.ask())[1]["code"] == "rate_limited"
    without_credentials(used_up)
    assert opened() == told(used_up.ask())
    status, error = opened()
    assert (status, error["code"], error["provider"]) == (503, "provider_not_configured", "openai")
    assert "OpenAI" in error["message"]
    key_with(used_up, rate_limit_rpm=None, spend_limit_nanos=0)
    assert opened()[1]["code"] == "provider_not_configured", "as over HTTP, where money is asked for last"
