"""What crosses the router beside the body, and that the real credential does not come back."""

from datetime import date

import pytest
from msgspec.structs import replace

from proxyd.gateway.headers import ResponseHeaders, outgoing, read_response_headers, returned
from proxyd.gateway.limit_headers import limits
from proxyd.gateway.masking import MASK, masked_headers
from proxyd.messages import Header, Headers
from shared import keys, money
from shared.counters import RateState, SpendState
from shared.money import NANOS_PER_USD

CREDENTIAL = (b"authorization", b"Bearer the-real-one")
SECRET = b"the-real-one"
RATE = RateState(60, 59, 1795631897)
SPEND = SpendState(NANOS_PER_USD, 0, 0, NANOS_PER_USD, date(2026, 11, 1), date(2026, 12, 1))


def look(headers: Headers) -> ResponseHeaders:
    return read_response_headers(headers, (SECRET,))


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
        "x-goog-fieldmask", "accept-encoding", "x-router-tag",
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
    answer = look(tuple((name, b"1") for name in names))
    assert not {name for name, _ in returned(answer, [], b"req_1")} & set(names)


@pytest.mark.parametrize(
    "name",
    [
        b"x-accel-expires", b"x-accel-limit-rate", b"x-sendfile2", b"x-lighttpd-send-tempfile", b"x-litespeed-location",
        b"x-reproxy-url", b"strict-transport-security", b"nel", b"report-to", b"access-control-allow-headers",
        b"access-control-expose-headers", b"service-worker-allowed", b"x-accel-redirect", b"x-accel-mapping",
        b"x-accel-charset", b"x-sendfile", b"x-sendfile-temporary", b"x-lighttpd-send-file",
        b"x-lighttpd-kbytes-per-second", b"x-litespeed-purge", b"x-litespeed-cache-control", b"x-reproxy-file",
        b"surrogate-control", b"cdn-cache-control", b"cloudflare-cdn-cache-control", b"edge-control",
        b"x-envoy-immediate-health-check-fail", b"x-envoy-degraded", b"refresh", b"speculation-rules", b"set-login",
        b"use-as-dictionary", b"accept-ch", b"critical-ch", b"secure-session-registration", b"sec-session-registration",
        b"attribution-reporting-register-source", b"attribution-reporting-register-trigger", b"public-key-pins",
        b"public-key-pins-report-only", b"cf-edge-cache", b"netlify-vary", b"netlify-cdn-cache-control", b"cache-tag",
        b"surrogate-key", b"edge-cache-tag", b"x-envoy-overloaded", b"x-envoy-ratelimited",
    ],
)  # fmt: skip
def test_w8_what_a_server_or_a_browser_would_act_on_beyond_the_answer_stays_here(name: bytes) -> None:
    assert look(((name, b"1"), (b"x-kept", b"1"))).kept == [(b"x-kept", b"1")]


def test_what_only_looks_like_it_crosses() -> None:
    names = (b"x-accel-buffering", b"cache-control", b"x-envoy-upstream-service-time", b"x-accelerated", b"link")
    headers = tuple((name, b"1") for name in names)
    assert look(headers).kept == [*headers]


def test_what_a_browser_would_act_on_stays_here() -> None:
    """FINDINGS S18."""
    names = (
        b"clear-site-data",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"x-content-type-options",
    )
    kept = returned(look(tuple((name, b"*") for name in names)), [], b"req_1")
    assert {name for name, _ in kept} & set(names) == {b"x-content-type-options"}
    assert kept.count((b"x-content-type-options", b"nosniff")) == 1


@pytest.mark.parametrize(
    "kind",
    [
        b"text/html; charset=utf-8", b"TEXT/HTML", b"image/svg+xml", b"application/xhtml+xml", b"text/xml", b"application/xml",
        b"text/xsl", b"application/rss+xml", b"multipart/x-mixed-replace; boundary=x", b"application/json, text/html",
        b"audio/x+xml", b"application/json; " + b"a" * 80 + b", text/html", b"message/rfc822", b"text/javascript", b"",
    ],
)  # fmt: skip
def test_a_page_of_a_provider_is_none_of_this_address(kind: bytes) -> None:
    kept = returned(look(((b"content-type", kind),)), [], b"req_1")
    assert (b"content-security-policy", b"sandbox; default-src 'none'") in kept


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json", b"Application/JSON; charset=UTF-8", b"text/plain; charset=utf-8", b"text/event-stream; charset=utf-8",
        b"audio/mpeg", b"image/png", b"video/mp4", b"application/octet-stream",
    ],
)  # fmt: skip
def test_what_is_no_page_is_told_as_it_came(kind: bytes) -> None:
    answer = look(((b"content-type", kind),))
    assert answer.kept == [(b"content-type", kind)]
    assert answer.events is kind.startswith(b"text/event-stream")


def test_what_a_provider_calls_hop_by_hop_stays_here_each_time() -> None:
    for _ in range(2):
        named = look(((b"connection", b"keep-alive, X-Foo"), (b"x-foo", b"1"), (b"keep-alive", b"timeout=5")))
        assert named.kept == []
        plain = look(((b"connection", b"keep-alive"), (b"x-foo", b"1"), (b"keep-alive", b"timeout=5")))
        assert plain.kept == [(b"x-foo", b"1")]


def test_of_an_answer_its_first_words_count() -> None:
    answer = look(
        ((b"content-type", b"Text/Event-Stream; charset=utf-8"), (b"content-encoding", b"identity"),
         (b"content-encoding", b" GZIP"), (b"request-id", b"a" * 200), (b"x-request-id", b"b"))
    )  # fmt: skip
    assert (answer.events, answer.coding, answer.request_id) == (True, b"gzip", "a" * 128)


def test_a_providers_ids_stay_and_ours_moves() -> None:
    both = returned(look(((b"x-request-id", b"p"),)), [(b"x-a", b"1")], b"req_1")
    assert both == [
        (b"x-request-id", b"p"), (b"request-id", b"req_1"), (b"x-router-request-id", b"req_1"),
        (b"x-content-type-options", b"nosniff"), (b"x-a", b"1"),
    ]  # fmt: skip
    for name, own in (
        (b"x-ratelimit-limit", limits(RATE, None)),
        (b"x-ratelimit-limit-tokens", limits(None, None, RATE)),
        (b"x-accel-buffering", [(b"x-accel-buffering", b"no")]),
    ):
        theirs = (name, b"theirs")
        assert theirs in returned(look((theirs,)), [], b"req_1")
        both = returned(look((theirs,)), own, b"req_1")
        assert theirs not in both
        assert own[0] in both


def test_every_header_of_ours_wins_over_a_providers() -> None:
    own = limits(RATE, SPEND, RateState(9_000, 7, 1795631898))
    theirs = tuple((name, b"theirs") for name, _ in own)
    assert len(own) == 9
    assert [header for header in returned(look(theirs), own, b"req_1") if header in theirs] == []


def test_a_providers_tokens_are_looked_at_only_where_we_tell_of_some() -> None:
    """OpenAI tells of its own with each answer: what crosses is not looked through for keys without such a limit."""
    answer = look(((b"x-ratelimit-limit-tokens", b"theirs"),))
    assert (answer.overlaps, answer.tells_tokens) == (False, True)
    for own in ([], limits(RATE, SPEND)):
        assert answer.kept[0] in returned(replace(answer, kept=[*answer.kept]), own, b"req_1")
    assert not look(((b"x-ratelimit-limit", b"theirs"),)).tells_tokens


def test_limits_are_told_as_they_are() -> None:
    for day, unix in ((date(2026, 12, 1), b"1796083200"), (date(2027, 1, 1), b"1798761600"), (None, None)):
        for limit in (NANOS_PER_USD, 2 * NANOS_PER_USD):
            state = SPEND._replace(limit_nanos=limit, remaining_nanos=limit // 2, resets_on=day)
            told = dict(limits(RATE, state))
            assert told[b"x-spend-limit"] == money.to_usd(limit).encode()
            assert told[b"x-spend-remaining"] == money.to_usd(limit // 2).encode()
            assert told.get(b"x-spend-reset") == unix
            assert (told[b"x-ratelimit-limit"], told[b"x-ratelimit-reset"]) == (b"60", b"1795631897")


def test_no_half_of_a_credential_is_left_in_a_request_id() -> None:
    told = ((b"x-request-id", b"a" * 120 + b"sk-the-real-one"),)
    found = read_response_headers(told, (b"sk-the-real-one",))
    assert found.request_id == "a" * 120 + "[provide"
    assert found.kept[0][1] == b"a" * 120 + b"[provider credential]"


def test_the_credential_is_masked_in_headers() -> None:
    assert masked_headers([(b"x-echo", b"Bearer " + SECRET)], (SECRET,)) == [(b"x-echo", b"Bearer " + MASK)]
    echoed = ((b"x-echo", b"Bearer " + SECRET), (b"x-request-id", SECRET))
    assert SECRET not in b"".join(value for _, value in returned(look(echoed), [], b"req_1"))
