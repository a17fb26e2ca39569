"""What crosses the router beside the body, and that the real credential does not come back."""

import gzip

import pytest

from proxyd.gateway.headers import outgoing, read_answer, returned
from proxyd.gateway.masking import MASK, masked_error, masked_headers
from proxyd.messages import Header
from shared import keys

CREDENTIAL = (b"authorization", b"Bearer the-real-one")
SECRET = b"the-real-one"


def sent(*headers: Header) -> list[Header]:
    return outgoing(tuple(headers), extra=((b"anthropic-version", b"2023-06-01"),))


def test_it_works() -> None:
    ours = [(b"accept-encoding", b"identity"), (b"via", b"1.1 enterprise-router")]
    assert sent((b"x-custom", b"1")) == [(b"x-custom", b"1"), (b"anthropic-version", b"2023-06-01"), *ours]


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "x-api-key", "x-goog-api-key", "cookie", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip",
        "true-client-ip", "connection", "te", "upgrade", "proxy-authorization", "via", "expect", "x-http-method-override",
        "x-goog-fieldmask", "accept-encoding",
    ],
)  # fmt: skip
def test_what_is_not_for_the_provider_stays_here(name: str) -> None:
    assert (name.encode(), b"theirs") not in sent((name.encode(), b"theirs"))


@pytest.mark.parametrize("tag", [keys.PROXY_TAG, keys.MANAGEMENT_TAG])
def test_a_secret_of_ours_leaves_under_no_name(tag: keys.Tag) -> None:
    raw = keys.mint(tag).raw.encode()
    assert raw not in b"".join(value for _, value in sent((b"api-key", raw), (b"x-custom", b"Token " + raw)))


def test_connection_names_hop_by_hop_headers_but_not_ours() -> None:
    headers = sent((b"connection", b"close, X-Foo, Authorization, accept-encoding"), (b"x-foo", b"1"))
    assert b"x-foo" not in dict(headers)
    assert (b"accept-encoding", b"identity") in headers


def test_a_provider_cannot_speak_for_the_router() -> None:
    names = (b"x-router-error", b"x-router-max-tokens", b"x-spend-limit", b"x-spend-remaining", b"set-cookie")
    answer = read_answer(tuple((name, b"1") for name in names))
    assert not {name for name, _ in returned(answer, [], b"req_1")} & set(names)


def test_what_a_provider_calls_hop_by_hop_stays_here_each_time() -> None:
    for _ in range(2):
        named = read_answer(((b"connection", b"keep-alive, X-Foo"), (b"x-foo", b"1"), (b"keep-alive", b"timeout=5")))
        assert named.kept == []
        plain = read_answer(((b"connection", b"keep-alive"), (b"x-foo", b"1"), (b"keep-alive", b"timeout=5")))
        assert plain.kept == [(b"x-foo", b"1")]


def test_of_an_answer_its_first_words_count() -> None:
    answer = read_answer(
        ((b"content-type", b"Text/Event-Stream; charset=utf-8"), (b"content-encoding", b"identity"),
         (b"content-encoding", b" GZIP"), (b"request-id", b"a" * 200), (b"x-request-id", b"b"))
    )  # fmt: skip
    assert (answer.events, answer.coding, answer.request_id) == (True, b"gzip", "a" * 128)


def test_a_providers_ids_stay_and_ours_moves() -> None:
    both = returned(read_answer(((b"x-request-id", b"p"),)), [(b"x-a", b"1")], b"req_1")
    assert both == [
        (b"x-request-id", b"p"), (b"request-id", b"req_1"), (b"x-router-request-id", b"req_1"), (b"x-a", b"1"),
    ]  # fmt: skip
    assert returned(read_answer(((b"x-a", b"theirs"),)), [(b"x-a", b"ours")], b"req_1")[-1] == (b"x-a", b"ours")
    assert (b"x-a", b"theirs") not in returned(read_answer(((b"x-a", b"theirs"),)), [(b"x-a", b"ours")], b"req_1")


def test_the_credential_is_masked_in_headers() -> None:
    assert masked_headers([(b"x-echo", b"Bearer " + SECRET)], SECRET) == [(b"x-echo", b"Bearer " + MASK)]


def test_the_credential_is_masked_in_errors() -> None:
    assert masked_error([], b"no: " + SECRET, SECRET) == ([], b"no: " + MASK)


def test_it_is_found_in_compressed_errors_too() -> None:
    headers = [(b"content-encoding", b"gzip"), (b"x-a", b"1")]
    assert masked_error(headers, gzip.compress(b"no: " + SECRET), SECRET) == ([(b"x-a", b"1")], b"no: " + MASK)
    other = gzip.compress(b"no")
    assert masked_error(headers, other, SECRET) == (headers, other)
    assert masked_error(headers, b"no gzip", SECRET) == (headers, b"no gzip")
