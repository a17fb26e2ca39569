"""The provider's counter is asked with a credential as any request, and what it says of that one is heeded."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from gateway_kit import Reply, scripted
from request_kit import Untouched

from proxyd.bodies.parser import BodyParser
from proxyd.credentials import Credential, CredentialHealth, ProviderCredentials
from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Target
from proxyd.gateway.head import head_info
from proxyd.gateway.token_counter import TokenCounter
from proxyd.messages import Headers, Request, origin_of
from proxyd.providers import DIALECTS
from proxyd.upstream.pool import UpstreamPool

A, B = (Credential(name, f"secret-of-{name}", datetime(2026, 3, 1, tzinfo=UTC), name) for name in "ab")


class World:
    def __init__(self) -> None:
        self.health = CredentialHealth()
        self.asked: list[str] = []
        self.reply: Reply = ("200 OK", [], b'{"input_tokens": 7}')
        self.server = scripted(self.answer)
        self.pool = UpstreamPool()
        origins = {"openai": origin_of(f"http://127.0.0.1:{self.server.server_port}")}
        self.counter = TokenCounter(self.pool, origins, BodyParser(), self.health)
        self.credentials = ProviderCredentials([A, B], self.health)
        key = SimpleNamespace(id="key_1", org_id="org_1")
        self.known: Any = SimpleNamespace(key=key, credentials={"openai": self.credentials})

    def answer(self, secret: str, asked_for: str) -> Reply:
        assert asked_for == "POST /v1/responses/input_tokens"
        self.asked.append(secret)
        return self.reply

    def count(self, text: str, headers: Headers = ()) -> int | None:
        """Each text is another question: answers are kept."""
        untouched = Untouched()
        request = Request("POST", "/openai/v1/responses", "", headers, untouched, untouched)
        head = head_info(request, ())
        context = RequestContext(request, 1, "req_1", head, None, "openai", 0.0)
        assert isinstance(head.match.route, Target)
        context.target, context.model = head.match.route, "gpt-4o"
        assert context.target.endpoint is not None
        body = json.dumps({"model": "gpt-4o", "input": text, "store": False}).encode()
        context.parsed = DIALECTS["openai"].read(context.target.endpoint, body, None, "")
        return self.counter(context, self.known)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.pool.close()
    world.server.stop()


def test_it_works(world: World) -> None:
    """And nothing of it counts as a request that was sent."""
    assert [world.count("one"), world.count("two"), world.count("one")] == [7, 7, 7]
    assert world.asked == [A.secret, A.secret]
    assert [world.credentials.choose(in_order=False) for _ in range(2)] == [A, B]
    world.health.told_to_wait(A, "gpt-4o", 30.0)
    assert world.count("three") == 7
    assert world.asked[2:] == [B.secret]


def test_a_credential_that_it_refuses_is_put_aside(world: World) -> None:
    world.reply = ("429 Wait", [], b"{}")
    assert world.count("one") is None
    assert world.health.resting == {}, "questions have limits of their own"
    world.reply = ("401 No", [], b'{"error":{"code":"mismatched_project"}}')
    assert world.count("two") is None
    assert world.health.resting == {}
    world.reply = ("401 No", [], b'{"error":{"code":"invalid_api_key"}}')
    assert world.count("three") is None
    assert list(world.health.resting) == [(A, None)]
