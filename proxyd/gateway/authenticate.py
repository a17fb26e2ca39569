"""Finding the proxy key in a request. Costs no storage: shape and checksum are judged before anything is looked up."""

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from proxyd.messages import Request
from shared.keys import MANAGEMENT_TAG, PROXY_KEY_BYTES, PROXY_TAG, digest, looks_like_ours
from shared.policy import Deny, Reason

# Browsers can set no header but this one with a WebSocket, so a key stands there among the subprotocols, as OpenAI's
# documentation of Realtime has it.
_PROTOCOLS = b"sec-websocket-protocol"
_IN_PROTOCOL = b"openai-insecure-api-key."
KEY_HEADERS = frozenset((b"authorization", b"x-api-key", b"x-goog-api-key", _PROTOCOLS))
_OUR_TAGS = (PROXY_TAG.encode(), MANAGEMENT_TAG.encode())
_BEARER = re.compile(rb"bearer[ \t]+([^ \t]+)", re.IGNORECASE)  # RFC 9110: the scheme is case-insensitive

_NO_TOKEN = b"bearer"

AZURE = "The header api-key is Azure's, which is not spoken here."
WHERE = "Send it as `Authorization: Bearer sk-proxy-...`, `x-api-key` or `x-goog-api-key`."


def authenticate(request: Request, *, query_key_allowed: bool) -> str | Deny:
    """Give the digest of the proxy key that a request carries, and never again the secret itself.

    It is taken from the places where SDKs put it; every place that names a key must name the same one.
    `query_key_allowed` is true on Gemini routes only; elsewhere a key in the query is rejected, because queries end up
    in logs.
    """
    found: list[tuple[bytes, bytes]] = []  # where it stands, and what
    for _, name, value in _that_may_hold_a_key(request):
        if name == _PROTOCOLS:
            found += [(name, protocol.removeprefix(_IN_PROTOCOL)) for protocol in _with_keys(value)]
            continue
        if name == b"authorization":
            match = _BEARER.fullmatch(value)
            if match is None:
                return denied(f"The Authorization header is not a bearer token. {WHERE}")
            value = match[1]  # noqa: PLW2901 - the secret is not kept under a second name
        found.append((name, value))
    if request.query:
        in_query = query_keys(request.query)
        if in_query and not query_key_allowed:
            return denied(f"A key must not stand in the address. {WHERE}")
        if holds_a_secret_of_ours(unquote_to_bytes(without_key(request.query))):
            return denied(f"A key must not stand in the address. {WHERE}")
        found += [(b"the parameter key", value) for value in in_query]
    if not found:
        return denied(f"{AZURE if request.header(b'api-key') else 'No proxy key was sent.'} {WHERE}")
    place, key = found[0]
    for other, value in found[1:]:
        if value != key:
            return denied(_two_keys(place.decode(), other.decode()))
    return _digest_of(key)


def place_of_key(request: Request) -> int | None:
    """In which header the key of a request stands that was authenticated; None: not in one alone, or not at its end."""
    found = _that_may_hold_a_key(request)
    if len(found) != 1 or request.query or found[0][1] == _PROTOCOLS:
        return None
    return found[0][0]


def authenticate_at(request: Request, place: int) -> str | Deny:
    """As `authenticate`, where nothing but the token differs from a request whose key stood at `place`."""
    return _digest_of(request.headers[place][1][-PROXY_KEY_BYTES:])


def _that_may_hold_a_key(request: Request) -> list[tuple[int, bytes, bytes]]:
    """Headers that are not empty: place, name and value."""
    return [
        (place, name, value)
        for place, (name, value) in enumerate(request.headers)
        if name in KEY_HEADERS and not is_nothing(value)
    ]


def _digest_of(key: bytes) -> str | Deny:
    return digest(key) if looks_like_ours(key, PROXY_TAG) else denied(_what_is_wrong(key))


def is_nothing(value: bytes) -> bool:
    """Whether a header of a key names none: SDKs send that of an empty variable beside the one they were told."""
    return not value or value.lower() == _NO_TOKEN


def _with_keys(value: bytes) -> list[bytes]:
    """The subprotocols of a header that are keys."""
    return [piece for part in value.split(b",") if (piece := part.strip()).startswith(_IN_PROTOCOL)]


def without_keys(protocols: Sequence[bytes]) -> tuple[bytes, ...]:
    """The subprotocols as they go to the provider: none of them holds a key."""
    return tuple(
        protocol
        for protocol in protocols
        if not protocol.startswith(_IN_PROTOCOL) and not holds_a_secret_of_ours(protocol)
    )


def _two_keys(place: str, other: str) -> str:
    """Mostly one of them is a forgotten variable of the environment that a tool sends beside what it was told."""
    where = f"twice in {place}" if place == other else f"one in {place}, another in {other}"
    return (
        f"The request carries two different keys, {where}; send one. "
        "Look for a variable such as ANTHROPIC_API_KEY that is still set in your environment."
    )


def holds_a_secret_of_ours(text: bytes) -> bool:
    """Whether a proxy key or a management token may stand there. Such a text goes to no provider and no ledger."""
    return _OUR_TAGS[0] in text or _OUR_TAGS[1] in text


def names_a_secret_of_ours(text: str) -> bool:
    """The same for a name that we have read."""
    return PROXY_TAG in text or MANAGEMENT_TAG in text


def query_keys(query: str) -> list[bytes]:
    """The values of the parameter `key`, decoded, but for empty ones, which name no key."""
    if "key" not in query and "%" not in query:
        return []
    return [
        unquote_to_bytes(value.replace("+", " "))
        for name, _, value in (piece.partition("=") for piece in query.split("&"))
        if value and unquote_to_bytes(name) == b"key"
    ]


def without_key(query: str) -> str:
    """The query as it goes to the provider: without the parameter `key`, everything else byte for byte."""
    if "key" not in query and "%" not in query:
        return query
    return "&".join(piece for piece in query.split("&") if unquote_to_bytes(piece.partition("=")[0]) != b"key")


def unknown_key() -> Deny:
    """A key of the right shape that nobody issued."""
    return denied("This proxy key is not known. It may have been mistyped, rotated out or issued by another router.")


def _what_is_wrong(raw: bytes) -> str:
    if raw.startswith(MANAGEMENT_TAG.encode()):
        return f"This is a management token; LLM endpoints take a proxy key. {WHERE}"
    if raw.startswith(PROXY_TAG.encode()):
        return "The proxy key is damaged: its length, its characters or its checksum are wrong. Copy it again."
    return f"This is not a proxy key; one begins with sk-proxy-. {WHERE}"


def denied(detail: str) -> Deny:
    """401, with this sentence."""
    return Deny(Reason.INVALID_PROXY_KEY, {"detail": detail})
