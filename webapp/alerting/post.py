"""One webhook, sent: an address and a body in, a `Result` out. Nothing of what is answered is kept but the status.

Where an address leads is judged after its name was looked up, on the very addresses that are connected to, so no name
can be changed in between. Redirects are not followed, no proxy of the environment is asked, and whatever the receiver
does, an attempt has an end.
"""

import contextlib
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from shared.addresses import may_be_reached, parse
from shared.policy.values import Network

WAIT_SECONDS = 10.0  # for the next byte
WHOLE_SECONDS = 15.0  # for all of it
AGENT = "Enterprise-Router-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt. `error` is for people, and holds no secret."""

    ok: bool
    status: int | None = None
    error: str | None = None
    final: bool = False  # no further attempt can mend it


class NotAllowed(Exception):
    """The address is not public, and not among those that are allowed besides."""


class _Unknown(Exception):
    """The name is not known to the resolver."""


class _Line:
    """Connects to addresses that are allowed, and cuts the connection at the end of its time."""

    def __init__(self, allowed: Sequence[Network], wait_seconds: float, whole_seconds: float) -> None:
        self._allowed = allowed
        self._wait_seconds = wait_seconds
        self._twins: list[socket.socket] = []
        self._timer = threading.Timer(whole_seconds, self._cut)
        self._timer.daemon = True
        self.was_cut = False

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for twin in self._twins:
            twin.close()

    def connect(self, host: str, port: int) -> socket.socket:
        """Raises NotAllowed, _Unknown, OSError."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise _Unknown from None
        usable = [entry for entry in found if self._is_allowed(str(entry[4][0]))]
        if not usable:
            raise NotAllowed
        error: OSError = OSError("no address")
        for family, kind, protocol, _, address in usable:
            if self.was_cut:
                break
            connection = socket.socket(family, kind, protocol)
            # TLS takes the descriptor of the socket that it is laid over; a second one of the same connection stays
            # ours, and what is shut down through it ends both.
            try:
                connection.settimeout(self._wait_seconds)
                self._twins.append(connection.dup())
                connection.connect(address)
            except OSError as failure:
                connection.close()
                error = failure
            else:
                return connection
        raise error

    def _is_allowed(self, text: str) -> bool:
        address = parse(text)
        return address is not None and may_be_reached(address, self._allowed)

    def _cut(self) -> None:
        self.was_cut = True
        for twin in self._twins:
            with contextlib.suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Makes each connection through a line; trusts the system's roots beside certifi's."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        super().__init__(max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        context = create_urllib3_context()
        context.load_default_certs()
        super().init_poolmanager(*arguments, ssl_context=context, **options)
        line = self._line

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return line.connect(self._dns_host, self.port)

        class Safe(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return line.connect(self._dns_host, self.port)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SafePool(HTTPSConnectionPool):
            ConnectionCls = Safe

        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SafePool}


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    allowed: Sequence[Network],
    *,
    wait_seconds: float = WAIT_SECONDS,
    whole_seconds: float = WHOLE_SECONDS,
) -> Result:
    """Send a body once. Any status of the two hundreds says that it was taken."""
    sent = {"Content-Type": "application/json", "User-Agent": AGENT, **headers}
    with _Line(allowed, wait_seconds, whole_seconds) as line, requests.Session() as session:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(line))
        try:
            with session.post(
                url, data=body, headers=sent, timeout=wait_seconds, allow_redirects=False, stream=True
            ) as answer:
                status = answer.status_code
        except NotAllowed:
            return Result(ok=False, error="It leads to an address that is not public, and that is not allowed here.")
        except _Unknown:
            return Result(ok=False, error="Its name is not known to the resolver of this machine.")
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return Result(ok=False, error=_reason(error, line, whole_seconds))
    if 200 <= status < 300:
        return Result(ok=True, status=status)
    if 300 <= status < 400:
        return Result(ok=False, status=status, error=f"It redirects elsewhere ({status}), which is not followed.")
    return Result(ok=False, status=status, error=f"It answered {status}.")


def _reason(error: Exception, line: _Line, whole_seconds: float) -> str:
    """Why there is no answer. The texts of foreign exceptions are not repeated: they hold addresses, paths as well."""
    if line.was_cut:
        return f"It did not answer within {whole_seconds:g} seconds."
    if isinstance(error, requests.Timeout):
        return "It did not answer in time."
    if isinstance(error, requests.exceptions.SSLError):
        return "No safe connection: its certificate is not trusted, is made for another name, or it speaks no TLS."
    inner = error.args[0] if error.args else None
    cause = getattr(inner, "reason", None) or inner
    for one in (cause, *getattr(cause, "args", ())):
        if isinstance(one, OSError) and one.strerror:
            return f"It cannot be reached: {one.strerror.lower()}."
    return "The connection broke off."
