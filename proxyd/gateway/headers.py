"""Which headers cross the router, in either direction, and which are its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from proxyd.gateway.authenticate import KEY_HEADERS, holds_a_secret_of_ours
from proxyd.gateway.limit_headers import OF_TOKENS
from proxyd.gateway.masking import Secrets, masked, masked_headers
from proxyd.messages import MAX_PLANNED_NAMES, Header, Headers, name_of, value_of
from shared import labels

# RFC 9110 section 7.6.1, and what real software adds to it.
HOP_BY_HOP = frozenset(
    (
        b"close",  # a header of this name would be declared hop-by-hop by every `Connection: close`
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
    b"api-key",  # Azure's
    labels.HEADER.encode(),  # for our own books
    b"host",
    b"content-length",
    b"content-encoding",  # bodies are sent without one
    b"cookie",
    b"cookie2",
    b"expect",
    b"sec-websocket-accept",  # a WebSocket's handshake is made anew on the other side
    b"sec-websocket-extensions",
    b"sec-websocket-key",
    b"sec-websocket-version",
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
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    b"sec-websocket-protocol",
    # What a server on the way would act on, beside those of _NEVER_RETURNED_BELOW: caches.
    b"surrogate-control",
    b"surrogate-key",
    b"edge-control",
    b"edge-cache-tag",
    b"cache-tag",
    b"cf-edge-cache",
    # What a browser would act on, for our whole host and longer than for this answer.
    b"clear-site-data",
    b"strict-transport-security",
    b"expect-ct",
    b"nel",
    b"report-to",
    b"reporting-endpoints",
    b"service-worker-allowed",
    b"accept-ch",
    b"critical-ch",
    b"refresh",
    b"set-login",
    b"secure-session-registration",
    b"sec-session-registration",
    b"speculation-rules",
    b"use-as-dictionary",
    b"x-content-type-options",
    b"x-router-attempts",
    b"x-router-error",
    b"x-router-max-tokens",
    b"x-router-request-id",
    b"x-spend-limit",
    b"x-spend-remaining",
    b"x-spend-reset",
}
_NEVER_RETURNED_BELOW = (
    b"access-control-",  # who may read an answer from a page of another origin is not for a provider to say
    b"x-accel-",  # nginx; but for one of them
    b"x-sendfile",  # Apache
    b"x-lighttpd-",
    b"x-litespeed-",
    b"x-reproxy-",  # Perlbal
    b"x-envoy-",  # but for one of them
    b"netlify-",
    # What a browser would keep, or tell others, in the name of our host.
    b"attribution-reporting-",
    b"public-key-pins",
)
_RETURNED_ALL_THE_SAME = frozenset((b"x-accel-buffering", b"x-envoy-upstream-service-time"))
_CACHES = b"cdn-cache-control"  # RFC 9213, and before it the names of those who run such caches
# What a provider sends is data: a browser that is led to it must not take it for a page or a script of this address.
_NOSNIFF: Header = (b"x-content-type-options", b"nosniff")
_NO_PAGE: Header = (b"content-security-policy", b"sandbox; default-src 'none'")
_REQUEST_IDS = (b"x-request-id", b"request-id")
# What we may set of those that a provider may set as well; OpenAI sets those of tokens with nearly each answer.
_SET_BY_US = frozenset((b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset", b"x-accel-buffering"))
_OURS: tuple[Header, ...] = ((b"accept-encoding", b"identity"), (b"via", b"1.1 enterprise-router"))
_COMMON_CONNECTION = frozenset((b"keep-alive", b"close", b"Keep-Alive", b"Close"))  # these name no header that crosses


def outgoing(headers: Headers, extra: tuple[Header, ...]) -> list[Header]:
    """What goes to the provider beside the credential: the client's end-to-end headers without its key, and ours.

    Answers are asked for without compression: usage has to be read in them, and our credential masked in errors.
    """
    positions, names, *_ = _plan(_plan_request, headers)
    kept = [headers[position] for position in positions]
    if holds_a_secret_of_ours(b"\n".join(map(value_of, kept))):
        kept = [header for header in kept if not holds_a_secret_of_ours(header[1])]
        names = frozenset([name for name, _ in kept])
    kept += [header for header in extra if header[0] not in names]
    kept += _OURS
    return kept


def connection_named(headers: Headers) -> frozenset[bytes]:
    """The headers that `Connection` declares to be hop-by-hop, in lower case."""
    values = [value for name, value in headers if name == b"connection"]
    return frozenset(piece.strip().lower() for value in values for piece in value.split(b","))


class ResponseHeaders(Struct, frozen=True):
    """The headers of a provider's answer, looked through once."""

    kept: list[Header]  # what may go back to the client, without the real credential
    overlaps: bool  # some of those kept are ours to set
    tells_tokens: bool  # some are ours to set where tokens are limited
    id_names: tuple[bytes, ...]  # of the headers in which our request id is told
    events: bool  # it says that it comes in events
    coding: bytes | None  # its compression
    request_id: str | None  # the provider's, for the ledger


def read_response_headers(headers: Headers, secrets: Secrets) -> ResponseHeaders:
    """Look through the headers of an answer, and mask the real credentials, should a provider repeat one."""
    names = tuple(map(name_of, headers))
    plan = _plan_response_cached(names) if len(names) <= MAX_PLANNED_NAMES else _plan_response(names)
    for position in plan.steering:
        if headers[position][1] not in _COMMON_CONNECTION:
            plan = _plan_response(names, connection_named(headers))
    pick, overlaps, tells_tokens, id_names, _, types, codings, ids = plan
    kind, coding, request_id = _UNTOLD, None, None
    for position in types:
        found = _kind_of(headers[position][1][:_KIND_BYTES])
        kind = found if kind is _UNTOLD else _Kind(*map(any, zip(kind, found, strict=True)))
    for position in codings:
        value = headers[position][1].strip().lower()
        coding = coding or (None if value in (b"", b"identity") else value)
    if ids:
        request_id = masked(headers[ids[0]][1], secrets)[:128].decode("latin-1")  # no half of a credential stays
    kept = masked_headers([*pick(headers)], secrets)
    events, page = kind
    if page:
        kept.append(_NO_PAGE)
    return ResponseHeaders(kept, overlaps, tells_tokens, id_names, events, coding, request_id)


class _Kind(NamedTuple):
    """What an answer says that it is, as far as it matters."""

    events: bool
    page: bool  # a browser may run it


_UNTOLD = _Kind(events=False, page=False)
_KIND_BYTES = 64
_DATA = tuple(b"application/json text/plain text/event-stream application/octet-stream audio/ image/ video/".split())


@lru_cache(maxsize=256)
def _kind_of(beginning: bytes) -> _Kind:
    """By the beginning of a Content-Type. Of several in one a browser takes the last, and any XML may hold scripts."""
    kind = beginning.lower()
    data = kind.startswith(_DATA) and b"," not in kind and b"xml" not in kind and len(kind) < _KIND_BYTES
    return _Kind(kind.startswith(b"text/event-stream"), page=not data)


def returned(answer: ResponseHeaders, own: list[Header], request_id: bytes) -> list[Header]:
    """What goes back to the client: the provider's end-to-end headers and ours.

    Of headers that both set, ours stay. The provider's request ids are kept; then ours moves to x-router-request-id.
    """
    kept = answer.kept
    if answer.overlaps or (answer.tells_tokens and own and OF_TOKENS[0] in dict(own)):
        ours = {name for name, _ in own}
        kept = [header for header in kept if header[0] not in ours]
    for name in answer.id_names:
        kept.append((name, request_id))
    kept.append(_NOSNIFF)
    kept += own
    return kept


class _ResponsePlan(NamedTuple):
    """What the names of an answer's headers tell: which cross, and where the others of interest stand."""

    pick: Callable[[Headers], Sequence[Header]]  # those that cross
    overlaps: bool
    tells_tokens: bool
    id_names: tuple[bytes, ...]
    steering: tuple[int, ...]  # where `Connection` stands
    types: tuple[int, ...]
    codings: tuple[int, ...]
    ids: tuple[int, ...]


def _plan_response(names: tuple[bytes, ...], named: frozenset[bytes] = frozenset()) -> _ResponsePlan:
    """By the names of an answer's headers, and those that `Connection` names there."""
    kept = [i for i, name in enumerate(names) if _crosses(name) and name not in named]
    crossing = {names[i] for i in kept}
    missing = tuple([name for name in _REQUEST_IDS if name not in crossing])
    return _ResponsePlan(
        itemgetter(*kept) if len(kept) > 1 else lambda headers: [headers[i] for i in kept],
        not _SET_BY_US.isdisjoint(crossing),
        not crossing.isdisjoint(OF_TOKENS),
        missing if len(missing) == len(_REQUEST_IDS) else (*missing, b"x-router-request-id"),
        _places(names, b"connection"),
        _places(names, b"content-type"),
        _places(names, b"content-encoding"),
        _places(names, *_REQUEST_IDS),
    )


def _crosses(name: bytes) -> bool:
    """Whether a header of a provider's answer goes back to the client."""
    if name in _NEVER_RETURNED or name.endswith(_CACHES):
        return False
    return name in _RETURNED_ALL_THE_SAME or not name.startswith(_NEVER_RETURNED_BELOW)


_plan_response_cached = lru_cache(maxsize=1024)(_plan_response)


class _RequestPlan(NamedTuple):
    """Which headers of a request cross, by their positions."""

    kept: tuple[int, ...]
    names: frozenset[bytes]
    steering: tuple[int, ...]  # where `Connection` stands


Planner = Callable[[tuple[bytes, ...], frozenset[bytes]], _RequestPlan]


def _plan(planner: Planner, headers: Headers) -> _RequestPlan:
    """Which of these headers cross. What `Connection` names is decided each time."""
    names = tuple(map(name_of, headers))
    plan = _plan_cached(planner, names) if len(names) <= MAX_PLANNED_NAMES else planner(names, frozenset())
    for position in plan.steering:
        if headers[position][1] not in _COMMON_CONNECTION:
            return planner(names, connection_named(headers))
    return plan


@lru_cache(maxsize=1024)
def _plan_cached(planner: Planner, names: tuple[bytes, ...]) -> _RequestPlan:
    """An SDK sends the same names with every request, so what was decided once is decided for all."""
    return planner(names, frozenset())


def _plan_request(names: tuple[bytes, ...], named: frozenset[bytes]) -> _RequestPlan:
    forbidden = _NEVER_SENT | named
    kept = [i for i, name in enumerate(names) if name not in forbidden and not name.startswith(b"x-forwarded-")]
    return _RequestPlan(tuple(kept), frozenset([names[i] for i in kept]), _places(names, b"connection"))


def _places(names: tuple[bytes, ...], *wanted: bytes) -> tuple[int, ...]:
    return tuple([position for position, name in enumerate(names) if name in wanted])


def encode(headers: Mapping[str, str]) -> list[Header]:
    """Headers written as text, as bytes."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
