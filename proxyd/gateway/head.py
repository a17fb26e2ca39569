"""What follows from the head of a request alone: where it leads, whose key it carries, what goes on to the provider.

A client sends the same head with every request on a connection. What was learned from it is put into the `HeadCache`
that comes with the request, and found there with the next; the connection drops it at its end, and with any other head.
Nothing that can change meanwhile belongs here: not the key's policy, not the provider's credential.
"""

import re
from dataclasses import dataclass, field

from proxyd.gateway import authenticate, headers
from proxyd.gateway.destinations import RouteMatch
from proxyd.gateway.route import match_route, session_route, spoken_by, wants_websocket
from proxyd.messages import Request
from proxyd.wire.http1 import header_lines
from shared.addresses import client_address
from shared.catalog import Provider
from shared.labels import HEADER, read_label
from shared.policy import Address, Deny, Network
from shared.routing import UNIFIED

_TRACE_PARENT_BYTES = 55
_TRACE_PARENT = re.compile(rb"((?!ff)[0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LABEL = HEADER.encode()


@dataclass(slots=True, eq=False)
class HeadInfo:
    """What is known of a head so far. What a request may be refused before is found out when it is asked for."""

    match: RouteMatch
    client_ip: Address | None  # None: cannot be told
    client_ip_text: str | None  # for the ledger; writing an address takes longer than all else that is done with it
    coding: bytes | None = None  # of the body, in lower case
    trace_parent: str | None = None  # the client's span; None also where nobody makes traces
    label: str | None = None  # the client's own of this request
    label_fault: str | None = None  # why what stands there is none
    _digest: str | Deny | None = None  # of the proxy key
    _key_place: int | None = None  # the header that ends with it
    _provider: Provider | None = None  # to which `_lines` went last
    _lines: bytes = field(default=b"", repr=False)

    def forget_key(self) -> None:
        """The next request has another key, in the same place and of the same length."""
        self._digest = None

    def authenticate(self, request: Request) -> str | Deny:
        """The digest of the proxy key in this head, which `request` came with."""
        if self._digest is None:
            place = self._key_place
            if place is not None:
                self._digest = authenticate.authenticate_at(request, place)
            else:
                self._digest = authenticate.authenticate(request, query_key_allowed=self.match.query_key_allowed)
                if not isinstance(self._digest, Deny):
                    self._key_place = authenticate.place_of_key(request)
        return self._digest

    def lines_for(self, provider: Provider, request: Request) -> bytes:
        """The headers that go to `provider` beside its credential, as lines."""
        if self._provider is not provider:
            self._lines = header_lines(headers.outgoing(request.headers, provider.extra_headers))
            self._provider = provider
        return self._lines


def head_info(request: Request, trusted_proxies: tuple[Network, ...], *, traced: bool = False) -> HeadInfo:
    """What was learned from this head before, or a beginning. Only if `traced`, whose trace it belongs to."""
    cache = request.head_cache
    if cache is not None and isinstance(cache.info, HeadInfo):
        return cache.info
    forwarded = (
        [value.decode("latin-1") for value in request.header_values(b"x-forwarded-for")] if trusted_proxies else ()
    )
    address = client_address(request.client.peer, forwarded, trusted_proxies)
    text = None if address is None else str(address)
    parent = _trace_parent(request) if traced else None
    info = HeadInfo(_match(request), address, text, _coding(request), parent)
    if request.header(_LABEL) is not None:
        info.label, info.label_fault = _label(request)
    if cache is not None:
        cache.info = info
    return info


def _match(request: Request) -> RouteMatch:
    method, path = request.method, request.path
    if method == "POST" and path in UNIFIED:  # whoever calls it
        return match_route(method, path)
    spoken = spoken_by(request.headers)
    match = match_route(method, path, spoken)
    if method == "GET" and wants_websocket(request.headers):
        return match._replace(route=session_route(path, spoken))
    return match


def _trace_parent(request: Request) -> str | None:
    """W3C Trace Context, section 3.2: what is not valid, or there twice, is as if it were not there."""
    named = request.header_values(b"traceparent")
    found = _TRACE_PARENT.fullmatch(named[0]) if len(named) == 1 else None
    if found is None or (found[1] == b"00" and found[2]):
        return None
    return named[0][:_TRACE_PARENT_BYTES].decode("ascii")


def _label(request: Request) -> tuple[str | None, str | None]:
    """The client's label of a request, or what is wrong with it."""
    values = request.header_values(_LABEL)
    if len(values) > 1:
        return None, "must be given once"
    try:
        return read_label(values[0].decode()), None
    except UnicodeDecodeError:
        return None, "must be UTF-8"
    except ValueError as error:
        return None, str(error)


def _coding(request: Request) -> bytes | None:
    """The Content-Encoding, several of them joined as RFC 9110, section 5.3, says; None: it is plain."""
    if request.header(b"content-encoding") is None:
        return None
    coding = b", ".join(request.header_values(b"content-encoding")).strip().lower()
    return None if coding in (b"", b"identity") else coding
