"""What follows from the head of a request alone: where it leads, whose key it carries, what goes on to the provider.

A client sends the same head with every request on a connection. What was concluded from it is left with the request
(`HeadMemory`) and found again with the next; the connection forgets it at its end, and with any other head. Nothing
that can change meanwhile belongs here: not the key's policy, not the provider's credential.
"""

from dataclasses import dataclass, field

from proxyd.gateway import authenticate, headers
from proxyd.gateway.route import Way, find_way
from proxyd.messages import Request
from proxyd.wire.http1 import header_lines
from shared.addresses import client_address
from shared.catalog import Provider
from shared.policy import Address, Deny, Network


@dataclass(slots=True, eq=False)
class HeadConclusions:
    """What is known of a head so far. What a request may be refused before is found out when it is asked for."""

    way: Way
    client_ip: Address | None  # None: cannot be told
    client_ip_text: str | None  # for the ledger; writing an address takes longer than all else that is done with it
    _digest: str | Deny | None = None  # of the proxy key
    _provider: Provider | None = None  # to which `_lines` went last
    _lines: bytes = field(default=b"", repr=False)

    def authenticate(self, request: Request) -> str | Deny:
        """The digest of the proxy key in this head, which `request` came with."""
        if self._digest is None:
            self._digest = authenticate.authenticate(request, query_key_allowed=self.way.query_key_allowed)
        return self._digest

    def lines_for(self, provider: Provider, request: Request) -> bytes:
        """The headers that go to `provider` beside its credential, as lines."""
        if self._provider is not provider:
            self._lines = header_lines(headers.outgoing(request.headers, provider.extra_headers))
            self._provider = provider
        return self._lines


def conclude(request: Request, trusted_proxies: tuple[Network, ...]) -> HeadConclusions:
    """What was concluded from this head before, or a beginning."""
    memory = request.memory
    if memory is not None and isinstance(memory.conclusions, HeadConclusions):
        return memory.conclusions
    forwarded = (
        [value.decode("latin-1") for value in request.header_values(b"x-forwarded-for")] if trusted_proxies else ()
    )
    address = client_address(request.client.peer, forwarded, trusted_proxies)
    text = None if address is None else str(address)
    conclusions = HeadConclusions(find_way(request.method, request.path), address, text)
    if memory is not None:
        memory.conclusions = conclusions
    return conclusions
