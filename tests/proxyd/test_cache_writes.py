"""What of a request to Anthropic may be written to a cache, and for how long."""

import pytest
from dialect_kit import find_endpoint, size_of

from proxyd.providers import DIALECTS
from shared.catalog import PROVIDERS

ANTHROPIC = DIALECTS["anthropic"]
MESSAGES = find_endpoint(PROVIDERS["anthropic"], "POST", "/v1/messages")[0]


def test_it_works() -> None:
    assert not size_of("messages", system="cache_control and caching are words like others").cache_writes
    assert size_of("messages", cache_control={"type": "ephemeral"}).cache_writes
    block = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert size_of("messages", system=[block]).cache_writes
    body = b'{"model":"c","max_tokens":1,"messages":[],"cache\\u005fcontrol":{"type":"ephemeral"}}'
    assert ANTHROPIC.read(MESSAGES, body, None, "").size.cache_writes


@pytest.mark.parametrize(
    ("control", "lasting"),
    [({}, False), ({"ttl": None}, False), ({"ttl": "5m"}, False), ({"ttl": "1h"}, True), ({"ttl": "1d"}, True)],
)
def test_only_what_is_written_for_an_hour_costs_what_an_hour_does(control: dict[str, object], lasting: bool) -> None:
    """Five minutes are the default of `CacheControlEphemeralParam` in the anthropic SDK."""
    brief, asked = ({"type": "ephemeral", **fields} for fields in ({}, control))
    block = {"type": "text", "text": 'a "ttl" of "1h"', "cache_control": brief}
    advisor = {"type": "advisor_20260301", "name": "a", "model": "m", "caching": asked}
    for fields in ({"cache_control": asked}, {"system": [{**block, "cache_control": asked}]}, {"tools": [advisor]}):
        size = size_of("messages", **{"system": [block], **fields})
        assert (size.cache_writes, size.lasting_writes) == (True, lasting)
    assert not size_of("messages", ttl="1h").lasting_writes


def test_an_hour_in_disguise_is_an_hour() -> None:
    control = b'{"model":"c","max_tokens":1,"messages":[],"cache_control":{"type":"ephemeral","t\\u0074l":"1h"}}'
    assert ANTHROPIC.read(MESSAGES, control, None, "").size.lasting_writes
