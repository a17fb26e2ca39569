"""Links that a provider hands out for the second step of an upload, led through the router.

Gemini answers the first step with the address for the second (`x-goog-upload-url`, and `Location` to who begins with
`uploadType=resumable`), and its SDK sends no key there: the address alone admits. So it is rewritten to this router and
signed, together with whose key it was made for. It is good for that key, that address, and as long as Gemini keeps the
file itself: 48 hours (ai.google.dev/gemini-api/docs/files).
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from proxyd.gateway.authenticate import KEY_HEADERS, authenticate, denied, is_nothing, query_keys
from proxyd.gateway.destinations import Target
from proxyd.messages import Header, Request
from shared.addresses import parse, scheme_told
from shared.policy import Deny, Network

PARAMETER = "router_link"
LIFETIME_SECONDS = 48 * 3600
_HEADERS = (b"x-goog-upload-url", b"x-goog-upload-control-url", b"location", b"content-location")
_PREFIX = "/gemini"
_PURPOSE = b"enterprise-router upload links"
_TOKEN = re.compile(r"(\d{1,12})\.([0-9a-f]{64})\.([0-9a-f]{64})")
_SAFE = re.compile(r"/[\x21\x24-\x7e]*")  # what may stand in a request line behind the path's first slash


class UploadLinks:
    """Signs and opens links, for one worker. `secrets` are shared by all machines; the first one signs.

    Links lead to `public_url`; without one to the host that the client called.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        trusted_proxies: tuple[Network, ...],
        public_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._public_url = public_url
        self._keys = [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in secrets]
        self._trusted = trusted_proxies
        self._now = now

    def rewritten(self, headers: list[Header], request: Request, digest: str, base: str) -> list[Header]:
        """The headers of an upload's answer with each link of the provider's led through us.

        `base` is the path before all of its own. What cannot be led through us is left out, as it would lead past us.
        """
        if not any(name in _HEADERS for name, _ in headers):
            return headers
        kept = []
        for name, value in headers:
            if name not in _HEADERS:
                kept.append((name, value))
            elif (link := self._link(value.decode("latin-1"), request, digest, base)) is not None:
                kept.append((name, link.encode()))
        return kept

    def led_here(self, given: str, request: Request, base: str, prefix: str) -> str | None:
        """A link of the provider's led through us, unsigned: for a client that sends its key with it.

        `prefix` is the provider's path here. None: it cannot be led through us.
        """
        base_url = self._public_url or self._called(request)
        path = given.partition("://")[2]
        target = path[path.find("/") :].removeprefix(base)
        if base_url is None or not _SAFE.fullmatch(target):
            return None
        behind = prefix if request.path.startswith(f"{prefix}/") else ""
        return f"{base_url}{behind}{target}"

    def _link(self, given: str, request: Request, digest: str, base: str) -> str | None:
        try:
            address = urlsplit(given)
        except ValueError:
            return None
        path = address.path.removeprefix(base)
        target = f"{path}?{address.query}" if address.query else path
        base_url = self._public_url or self._called(request)
        if base_url is None or not _SAFE.fullmatch(target):
            return None
        until = int(self._now()) + LIFETIME_SECONDS
        signed = f"{until}.{digest}.{self._sign(self._keys[0], target, until, digest)}"
        prefix = _PREFIX if request.path.startswith(f"{_PREFIX}/") or not path.startswith("/upload/") else ""
        mark = "&" if address.query else "?"
        return f"{base_url}{prefix}{target}{mark}{PARAMETER}={signed}"

    def opened(self, request: Request, target: Target) -> str | Deny:
        """The digest of the key that the link of a request was made for.

        The signature is taken off the query, as the provider knows nothing of it.
        """
        pieces = request.query.split("&")
        links = [piece.removeprefix(f"{PARAMETER}=") for piece in pieces if piece.startswith(f"{PARAMETER}=")]
        query = "&".join(piece for piece in pieces if not piece.startswith(f"{PARAMETER}="))
        match = _TOKEN.fullmatch(links[0]) if len(links) == 1 else None
        if match is None:
            return denied("This upload link is damaged. Begin the upload again.")
        until, digest, signature = int(match[1]), match[2], match[3]
        wanted = f"{target.path}?{query}" if query else target.path
        right = [hmac.compare_digest(self._sign(key, wanted, until, digest), signature) for key in self._keys]
        if not any(right):
            return denied("This upload link is not one of this router's. Begin the upload again.")
        if self._now() >= until:
            return denied("This upload link is no longer valid. Begin the upload again.")
        request.query = query
        if query_keys(query) or any(name in KEY_HEADERS and not is_nothing(value) for name, value in request.headers):
            found = authenticate(request, query_key_allowed=True)
            return (
                found
                if found == digest or isinstance(found, Deny)
                else denied("This upload link was made for another key than the one that the request carries.")
            )
        return digest

    @staticmethod
    def _sign(key: bytes, target: str, until: int, digest: str) -> str:
        return hmac.new(key, f"{until}\n{digest}\n{target}".encode(), hashlib.sha256).hexdigest()

    def _called(self, request: Request) -> str | None:
        """The address that the client called: its scheme by the word of a proxy that is trusted."""
        host = request.header(b"host")
        if host is None:
            return None
        told = scheme_told((request.header(b"x-forwarded-proto") or b"").decode("latin-1"))
        peer = parse(request.client.peer) if told == "https" else None
        scheme = "https" if peer is not None and any(peer in network for network in self._trusted) else "http"
        return f"{scheme}://{host.decode()}"
