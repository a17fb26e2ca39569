"""Where a body is translated: in the worker while that takes no time, else in the process beside it."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import orjson
import pytest
from gateway_kit import Sent
from refusal_kit import KEY
from request_kit import Untouched
from translation_kit import CHAT, way

from proxyd.bodies.memory import BodyMemory
from proxyd.bodies.parser import BodyParser
from proxyd.gateway.body_reader import PARSED_HERE_BYTES, QUICK_BYTES, BodyReader
from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Target
from proxyd.gateway.rejection import Rejection
from proxyd.gateway.route import find_route
from proxyd.known_key import KnownKey, OfOrganization
from proxyd.messages import Request
from proxyd.providers import DIALECTS, Parsed
from shared.catalog import PROVIDERS, Kind, find_endpoint
from shared.routing import Unified


class _Everybody:
    def refuse_early(self, *_: object) -> None:
        """Nobody is."""


EVERYBODY: Any = _Everybody()  # may send a large body
NOBODY: Any = None  # whom nothing is asked here
KNOWN = KnownKey(KEY, OfOrganization(), None)
SAID = {"role": "user", "content": "hello"}


@pytest.fixture
def parser() -> Iterator[BodyParser]:
    parser = BodyParser()
    yield parser
    parser.close()


def read(document: dict[str, Any]) -> Parsed:
    found = find_endpoint(PROVIDERS["openai"], "POST", "/v1/chat/completions")
    assert found is not None
    return DIALECTS["openai"].read(found[0], orjson.dumps(document), None, "")


def translated(parser: BodyParser, document: dict[str, Any]) -> tuple[RequestContext, Rejection | None]:
    request = Request("POST", "/v1/chat/completions", "", (), Untouched(), Untouched())
    context = RequestContext(request, 1, "req_1", NOBODY, ip_address("10.0.0.1"), "openai", 0.0)
    reader = BodyReader(NOBODY, BodyMemory(), parser)
    refused = reader.translate(context, KNOWN, way(Kind.CHAT, "anthropic"), read(document), "claude-sonnet-4-6")
    return context, refused


def read_here(parser: BodyParser, body: bytes, path: str = "/v1/responses") -> Parsed | Rejection:
    """What a request of this body asks for."""
    found, route = find_endpoint(PROVIDERS["openai"], "POST", path), find_route("POST", path)
    assert found is not None
    assert isinstance(route, Target | Unified)
    request = Request("POST", path, "", (), Untouched(), Sent(body))
    context = RequestContext(request, 1, "req_1", NOBODY, ip_address("10.0.0.1"), "openai", 0.0)
    return BodyReader(EVERYBODY, BodyMemory(), parser).read(context, KNOWN, found[0], route)


@pytest.mark.parametrize(
    ("field", "beside"),
    [
        (b'"tools":[%b{}]' % (b"{}," * 100_000), True),
        (b'"input":[%b{}]' % (b"{}," * 100_000), True),
        (b'"input":"%b"' % (b"a, b: [c] " * 80_000), False),
        (b'"input":[%b"x"]' % (b'"x",' * 40_000), False),
        (b'"input":[%b0]' % (b"0," * 390_000), False),
        (b'"input":[%b0]' % (b"0," * 410_000), True),
    ],
    ids=["tools", "input", "text", "few", "numbers", "many"],
)
def test_w1_a_body_of_many_values_is_parsed_beside_the_worker(parser: BodyParser, field: bytes, beside: bool) -> None:
    body = b'{"model":"gpt-5",%b}' % field
    assert QUICK_BYTES < len(body) < PARSED_HERE_BYTES
    read_here(parser, body)
    assert bool(parser.pid) is beside


def test_lists_of_tokens_are_parsed_in_the_worker(parser: BodyParser) -> None:
    """As LangChain sends what is to be embedded: those of all clients would wait for each other beside it."""
    body = b'{"model":"text-embedding-3-small","input":[%b]}' % b",".join([b"[%b1]" % (b"10000," * 499)] * 200)
    assert QUICK_BYTES < len(body) < PARSED_HERE_BYTES
    assert isinstance(read_here(parser, body, "/v1/embeddings"), Parsed)
    assert parser.pid == 0


def test_it_works(parser: BodyParser) -> None:
    context, refused = translated(parser, CHAT | {"stream": True, "stream_options": {"include_usage": False}})
    assert (refused, context.shows_usage, parser.pid) == (None, False, 0)
    assert context.parsed is not None
    assert context.parsed.raw == way(Kind.CHAT, "anthropic").request(CHAT | {"stream": True}, "claude-sonnet-4-6").raw


def test_what_takes_longer_is_translated_beside_the_worker(parser: BodyParser) -> None:
    """Many messages, or long ones: all of them far below what is parsed there."""
    few_and_long = CHAT | {"messages": [SAID | {"content": "a" * 300_000}]}
    for document in (few_and_long, CHAT | {"messages": [SAID] * 2_000}):
        context, refused = translated(parser, document)
        assert refused is None
        assert context.parsed is not None
        assert context.parsed.raw == way(Kind.CHAT, "anthropic").request(document, "claude-sonnet-4-6").raw
        assert parser.pid
    _, refused = translated(parser, few_and_long | {"seed": 1})
    assert refused is not None
    assert refused.deny.facts["param"] == "seed"
