"""What is learned from a head is found again with the same head, and only with that."""

from ipaddress import ip_network

import pytest
from request_kit import Untouched

from proxyd.gateway.head import HeadInfo, head_info
from proxyd.messages import HeadCache, Headers, Request
from shared import keys
from shared.addresses import parse
from shared.catalog import PROVIDERS
from shared.policy import Deny

KEY = keys.mint(keys.PROXY_TAG)
OTHER = keys.mint(keys.PROXY_TAG)
TRUSTED = (ip_network("10.0.0.0/8"),)


def asked(
    cache: HeadCache | None, raw: str = KEY.raw, path: str = "/v1/messages", *more: tuple[bytes, bytes]
) -> Request:
    headers: Headers = ((b"x-api-key", raw.encode()), (b"x-custom", b"1"), *more)
    return Request("POST", path, "", headers, Untouched(), Untouched(), cache)


def test_it_works() -> None:
    cache = HeadCache()
    first = head_info(asked(cache), ())
    assert first.authenticate(asked(cache)) == KEY.digest
    again = head_info(asked(cache), ())
    assert again is first
    assert again.authenticate(asked(cache)) == KEY.digest


def test_without_a_cache_nothing_is_kept() -> None:
    assert head_info(asked(None), ()).authenticate(asked(None)) == KEY.digest
    assert head_info(asked(None, OTHER.raw), ()).authenticate(asked(None, OTHER.raw)) == OTHER.digest


def test_another_head_is_read_anew() -> None:
    one, two = HeadCache(), HeadCache()
    head_info(asked(one), ()).authenticate(asked(one))
    other = head_info(asked(two, OTHER.raw, "/nowhere"), ())
    assert other.authenticate(asked(two, OTHER.raw)) == OTHER.digest
    assert other.match != head_info(asked(one), ()).match


def test_the_address_is_the_one_that_a_trusted_proxy_tells() -> None:
    cache = HeadCache()
    told = asked(cache, KEY.raw, "/v1/messages", (b"x-forwarded-for", b"192.0.2.7"))
    assert head_info(told, TRUSTED).client_ip == head_info(told, TRUSTED).client_ip == parse("192.0.2.7")


def test_a_broken_key_stays_refused() -> None:
    request = asked(HeadCache(), KEY.raw[:-1])
    assert isinstance(head_info(request, ()).authenticate(request), Deny)
    assert isinstance(head_info(request, ()).authenticate(request), Deny)


def test_each_provider_gets_its_own_headers() -> None:
    """One head may go to several providers, because in unified mode the body names the model."""
    request = asked(HeadCache())
    head = head_info(request, ())
    ours = b"accept-encoding: identity\r\nvia: 1.1 enterprise-router\r\n"
    for _ in range(2):
        assert head.lines_for(PROVIDERS["openai"], request) == b"x-custom: 1\r\n" + ours
        lines = head.lines_for(PROVIDERS["anthropic"], request)
        assert lines == b"x-custom: 1\r\nanthropic-version: 2023-06-01\r\n" + ours


def test_no_secret_stands_in_what_is_kept_for_providers() -> None:
    request = asked(HeadCache(), KEY.raw, "/v1/messages", (b"api-key", KEY.raw.encode()))
    head: HeadInfo = head_info(request, ())
    assert KEY.raw.encode() not in head.lines_for(PROVIDERS["openai"], request)
    assert KEY.raw not in repr(head)


def test_another_key_in_the_place_of_the_last_one_is_found_there() -> None:
    broken = KEY.raw[:-1] + ("0" if KEY.raw[-1] != "0" else "1")
    for name, prefix in ((b"authorization", "Bearer "), (b"x-api-key", ""), (b"x-goog-api-key", "")):

        def carrying(raw: str, name: bytes = name, prefix: str = prefix) -> Request:
            headers: Headers = ((b"authorization", b"Bearer"), (name, f"{prefix}{raw}".encode()), (b"x-custom", b"1"))
            if name == b"authorization":
                headers = headers[1:]
            return Request("POST", "/v1/messages", "", headers, Untouched(), Untouched(), None)

        head = head_info(carrying(KEY.raw), ())
        match = head.match
        for raw in (KEY.raw, OTHER.raw, broken, OTHER.raw, KEY.raw):
            head.forget_key()
            told = head.authenticate(carrying(raw))
            fresh = head_info(carrying(raw), ()).authenticate(carrying(raw))
            assert told == fresh
            assert isinstance(told, Deny) == (raw == broken)
        assert head.match is match


BEARER = (b"authorization", f"Bearer {KEY.raw}".encode())


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ((BEARER, (b"x-api-key", KEY.raw.encode())), ""),
        ((BEARER,), "key=" + KEY.raw),
        (((b"authorization", b"Bearer " + b"x" * len(KEY.raw)),), ""),
        (((b"authorization", b"Basic " + b"x" * len(KEY.raw)),), ""),
    ],
)
def test_where_several_places_held_the_last_key_or_it_was_none_all_are_looked_at(headers: Headers, query: str) -> None:
    """So that of two keys none is taken, and a header that was no key's does not come to be one's."""
    path = "/v1beta/models/gemini-2.5-flash:generateContent"  # where a query may hold a key
    request = Request("POST", path, query, headers, Untouched(), Untouched(), None)
    head = head_info(request, ())
    head.authenticate(request)
    for name in (b"authorization", b"x-api-key"):
        changed = tuple((key, value.replace(KEY.raw.encode(), OTHER.raw.encode())) if key == name else (key, value)
                        for key, value in headers)  # fmt: skip
        other = Request("POST", path, query, changed, Untouched(), Untouched(), None)
        head.forget_key()
        assert head.authenticate(other) == head_info(other, ()).authenticate(other)


def test_a_key_that_was_refused_leaves_no_place() -> None:
    """A value that ends with a key is none, whatever stood there before."""
    for value in (b"Basic " + KEY.raw.encode(), b"Bearer x" + KEY.raw.encode()):
        request = Request("POST", "/v1/messages", "", ((b"authorization", value),), Untouched(), Untouched(), None)
        head = head_info(request, ())
        for _ in range(2):
            assert isinstance(head.authenticate(request), Deny)
            head.forget_key()


def test_a_key_among_the_subprotocols_is_found_there_each_time() -> None:
    for raw, digest in ((KEY.raw, KEY.digest), (OTHER.raw, OTHER.digest)):
        headers: Headers = ((b"sec-websocket-protocol", f"openai-insecure-api-key.{raw}, realtime".encode()),)
        request = Request("POST", "/v1/messages", "", headers, Untouched(), Untouched(), None)
        head = head_info(request, ())
        for _ in range(2):
            assert head.authenticate(request) == digest
            head.forget_key()
