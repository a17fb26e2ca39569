"""One webhook, sent: an address and a body in, a `Result` out. Nothing of what is answered is kept but the status.

Where an address leads is judged as `webapp.outbound` says. Redirects are not followed, no proxy of the environment is
asked, and whatever the receiver does, an attempt has an end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError

from shared.policy.values import Network
from webapp.outbound import Line, LineAdapter, NotAllowed, UnknownName, reason_of

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
    with Line(allowed, wait_seconds, whole_seconds) as line, requests.Session() as session:
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, LineAdapter(line))
        try:
            with session.post(
                url, data=body, headers=sent, timeout=wait_seconds, allow_redirects=False, stream=True
            ) as answer:
                status = answer.status_code
        except NotAllowed:
            return Result(ok=False, error="It leads to an address that is not public, and that is not allowed here.")
        except UnknownName:
            return Result(ok=False, error="Its name is not known to the resolver of this machine.")
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            return Result(ok=False, error=_reason(error, line, whole_seconds))
    if 200 <= status < 300:
        return Result(ok=True, status=status)
    if 300 <= status < 400:
        return Result(ok=False, status=status, error=f"It redirects elsewhere ({status}), which is not followed.")
    return Result(ok=False, status=status, error=f"It answered {status}.")


def _reason(error: Exception, line: Line, whole_seconds: float) -> str:
    """Why there is no answer. The texts of foreign exceptions are not repeated: they hold addresses, paths as well."""
    if line.was_cut:
        return f"It did not answer within {whole_seconds:g} seconds."
    if isinstance(error, requests.Timeout):
        return "It did not answer in time."
    if isinstance(error, requests.exceptions.SSLError):
        return "No safe connection: its certificate is not trusted, is made for another name, or it speaks no TLS."
    why = reason_of(error)
    return "The connection broke off." if why is None else f"It cannot be reached: {why}."
