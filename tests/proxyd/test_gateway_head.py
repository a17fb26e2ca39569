"""What is learned from a head is found again with the same head, and only with that."""

from dataclasses import fields
from ipaddress import ip_network

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


def test_of_another_key_all_is_the_same_but_the_key() -> None:
    names = [field.name for field in fields(HeadInfo)]
    first = HeadInfo(**dict(zip(names, map(str, range(len(names))), strict=True)))  # type: ignore[arg-type] # any will do
    other = first.of_another_key()
    assert {name: getattr(other, name) for name in names} == {
        name: None if name == "_digest" else getattr(first, name) for name in names
    }
