"""Which headers cross the router, in either direction, and which are its own."""

from collections.abc import Iterable, Mapping

from proxyd.gateway.authenticate import KEY_HEADERS, holds_a_secret_of_ours
from proxyd.messages import Header, Headers
from shared import money, periods
from shared.counters import RateState, SpendState

# RFC 9110 section 7.6.1, and what real software adds to it.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
_NEVER_SENT = HOP_BY_HOP | {
    *KEY_HEADERS,
    b"host",
    b"content-length",
    b"cookie",
    b"cookie2",
    b"expect",
    b"forwarded",
    b"via",
    # Where the client is, in the words of proxies before us.
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"x-original-forwarded-for",
    b"true-client-ip",
    b"cf-connecting-ip",
    # What could make another request, or an answer without its usage, of the one that was judged.
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
    b"x-goog-fieldmask",
    b"accept-encoding",
}
_NEVER_RETURNED = HOP_BY_HOP | {
    b"content-length",
    b"date",
    b"set-cookie",
    b"set-cookie2",
    b"alt-svc",
    b"x-router-error",
    b"x-router-max-tokens",
    b"x-router-request-id",
    b"x-spend-limit",
    b"x-spend-remaining",
    b"x-spend-reset",
}
_REQUEST_IDS = (b"x-request-id", b"request-id")


def outgoing(headers: Headers, *, credential: Header, extra: Iterable[Header]) -> list[Header]:
    """What goes to the provider: the client's end-to-end headers without its key, and the real credential.

    Answers are asked for without compression: usage has to be read in them, and our credential masked in errors.
    """
    named = connection_named(headers)
    kept = [
        (name, value)
        for name, value in headers
        if name not in _NEVER_SENT
        and name not in named
        and not name.startswith(b"x-forwarded-")
        and not holds_a_secret_of_ours(value)
    ]
    present = {name for name, _ in kept}
    kept.extend(header for header in extra if header[0] not in present)
    kept.append((b"accept-encoding", b"identity"))
    kept.append((b"via", b"1.1 enterprise-router"))
    kept.append(credential)
    return kept


def connection_named(headers: Headers) -> frozenset[bytes]:
    """The headers that `Connection` declares to be hop-by-hop, in lower case."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(piece.strip().lower() for piece in value.split(b","))
    return frozenset(named)


def returned(headers: Headers, own: list[Header], request_id: bytes) -> list[Header]:
    """What goes back to the client: the provider's end-to-end headers and ours.

    Of headers that both set, ours stay. The provider's request ids are kept; then ours moves to x-router-request-id.
    """
    named = connection_named(headers)
    ours = {name for name, _ in own}
    kept = [
        (name, value)
        for name, value in headers
        if name not in _NEVER_RETURNED and name not in named and name not in ours
    ]
    present = {name for name, _ in kept}
    if any(name in present for name in _REQUEST_IDS):
        kept.append((b"x-router-request-id", request_id))
    kept.extend((name, request_id) for name in _REQUEST_IDS if name not in present)
    kept.extend(own)
    return kept


def request_id_of(headers: Headers) -> str | None:
    """The id a provider gave its answer, for the ledger."""
    for name, value in headers:
        if name in _REQUEST_IDS:
            return value[:128].decode("latin-1")
    return None


def limits(rate: RateState | None, spend: SpendState | None) -> list[Header]:
    """The headers that tell a client what is left of its limits."""
    own: list[Header] = []
    if rate is not None:
        own += [
            (b"x-ratelimit-limit", b"%d" % rate.limit),
            (b"x-ratelimit-remaining", b"%d" % rate.remaining),
            (b"x-ratelimit-reset", b"%d" % rate.resets_at),
        ]
    if spend is not None and spend.limit_nanos is not None:
        own += [
            (b"x-spend-limit", money.to_usd(spend.limit_nanos).encode()),
            (b"x-spend-remaining", money.to_usd(spend.remaining_nanos or 0).encode()),
        ]
        if spend.resets_on is not None:
            own.append((b"x-spend-reset", b"%d" % periods.unix(spend.resets_on)))
    return own


def encode(headers: Mapping[str, str]) -> list[Header]:
    """Headers written as text, as bytes."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
