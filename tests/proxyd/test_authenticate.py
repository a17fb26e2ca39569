"""Finding the key in a request."""

from typing import Any

import pytest

from proxyd.gateway.authenticate import authenticate, query_keys, without_key
from proxyd.messages import Header, Request
from shared import keys
from shared.policy import Deny, Reason

KEY, OTHER, TOKEN = (keys.mint(tag).raw.encode() for tag in (keys.PROXY_TAG, keys.PROXY_TAG, keys.MANAGEMENT_TAG))


def ask(*headers: Header, query: str = "", query_key_allowed: bool = False) -> str | Deny:
    untouched: Any = None  # neither client nor body is looked at: whoever does, fails
    request = Request("POST", "/v1/chat/completions", query, tuple(headers), untouched, untouched)
    return authenticate(request, query_key_allowed=query_key_allowed)


def test_it_works() -> None:
    found = ask((b"authorization", b"Bearer " + KEY))
    assert not isinstance(found, Deny)
    assert found == keys.digest(KEY)


@pytest.mark.parametrize("name", [b"x-api-key", b"x-goog-api-key"])
def test_other_headers_carry_it_bare(name: bytes) -> None:
    assert not isinstance(ask((name, KEY)), Deny)


@pytest.mark.parametrize("value", [b"bearer " + KEY, b"BEARER  " + KEY, b"Bearer\t" + KEY])
def test_the_scheme_is_read_as_rfc_9110_says(value: bytes) -> None:
    assert not isinstance(ask((b"authorization", value)), Deny)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"Bearer", b"Bearer ", b"Basic abc", KEY, b"Bearer " + KEY[:-1], b"Bearer " + KEY + b"0", b"Bearer " + KEY.upper(),
        b"Bearer sk-proxy-" + b"g" * 64, b"Bearer sk-proxy-" + "٣".encode() * 32, b"Bearer " + KEY + b" ", b"Bearer \x00" + KEY[1:],
        b"Bearer " + b"a" * 1_000_000, b"Bearer ' OR '1'='1", b'Bearer "; DROP', b"Bearer %00", b"Bearer {$ne:1}",
        b"Bearer sk-ant-api03-xyz", b"Bearer " + KEY[:-1] + (b"0" if KEY[-1:] != b"0" else b"1"),
    ],
)  # fmt: skip
def test_anything_else_is_401(value: bytes) -> None:
    refused = ask((b"authorization", value))
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.INVALID_PROXY_KEY


def test_no_key_at_all_is_401() -> None:
    assert isinstance(ask(), Deny)


@pytest.mark.parametrize(
    "empty", [(b"x-api-key", b""), (b"x-goog-api-key", b""), (b"authorization", b"Bearer"), (b"authorization", b"")]
)
def test_c10_a_variable_that_is_set_to_nothing_is_no_second_key(empty: tuple[bytes, bytes]) -> None:
    place = (b"x-goog-api-key", KEY) if empty[0] != b"x-goog-api-key" else (b"x-api-key", KEY)
    assert not isinstance(ask(empty, place), Deny)
    refused = ask(empty)
    assert isinstance(refused, Deny)
    assert "No proxy key was sent" in str(refused.facts["detail"])


def test_two_keys_are_401_and_the_same_twice_is_fine() -> None:
    assert isinstance(ask((b"authorization", b"Bearer " + KEY), (b"x-api-key", OTHER)), Deny)
    assert isinstance(ask((b"x-api-key", KEY), (b"x-api-key", OTHER)), Deny)
    assert isinstance(ask((b"authorization", b"Bearer " + KEY), (b"authorization", b"Basic x")), Deny)
    assert not isinstance(ask((b"authorization", b"Bearer " + KEY), (b"x-api-key", KEY)), Deny)


def test_a_management_token_is_told_its_kind() -> None:
    refused = ask((b"authorization", b"Bearer " + TOKEN))
    assert isinstance(refused, Deny)
    assert "management token" in str(refused.facts["detail"])
    assert TOKEN.decode() not in str(refused)


def test_the_query_counts_on_gemini_routes_only() -> None:
    query = f"alt=sse&key={KEY.decode()}"
    assert not isinstance(ask(query=query, query_key_allowed=True), Deny)
    assert isinstance(ask(query=query), Deny)
    assert isinstance(ask(query=query.replace("-", "%2D")), Deny)
    assert isinstance(ask((b"x-goog-api-key", OTHER), query=query, query_key_allowed=True), Deny)


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("key=abc", ""), ("alt=sse&key=abc", "alt=sse"), ("key=abc&alt=sse&key=def", "alt=sse"), ("%6bey=abc&x=1", "x=1"),
        ("monkey=1", "monkey=1"), ("a=%20b&c", "a=%20b&c"),
    ],
)  # fmt: skip
def test_the_key_leaves_the_query_and_nothing_else_does(query: str, rest: str) -> None:
    assert without_key(query) == rest
    assert query_keys(rest) == []


@pytest.mark.parametrize("name", ["token", "api_key", "$key"])
@pytest.mark.parametrize(
    "key",
    [KEY.decode(), KEY.decode().replace("-", "%2D"), "%73" + KEY.decode()[1:], TOKEN.decode().replace("m", "%6d")],
)
@pytest.mark.parametrize("query_key_allowed", [True, False])
def test_a_key_under_another_name_in_the_query_never_leaves(name: str, key: str, query_key_allowed: bool) -> None:
    found = ask((b"x-goog-api-key", KEY), query=f"alt=sse&{name}={key}", query_key_allowed=query_key_allowed)
    assert isinstance(found, Deny)
    assert "address" in str(found.facts["detail"])


@pytest.mark.parametrize("query", ["key=", "alt=sse&key", "%6bey=&x=1"])
@pytest.mark.parametrize("query_key_allowed", [True, False])
def test_an_empty_parameter_names_no_key(query: str, query_key_allowed: bool) -> None:
    found = ask((b"x-goog-api-key", KEY), query=query, query_key_allowed=query_key_allowed)
    assert found == keys.digest(KEY)
    assert isinstance(ask(query=query, query_key_allowed=query_key_allowed), Deny)
