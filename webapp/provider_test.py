"""Does a provider take a credential? Asked of the provider itself, by a list of models, which costs nothing.

Pure but for that one request: an address and a credential in, an `Outcome` in plain words out. The credential goes into
a header and nowhere else; what the provider says is repeated without it.
"""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError
from urllib3.exceptions import TimeoutError as Silence
from urllib3.util.ssl_ import create_urllib3_context

from shared.catalog import Provider
from shared.policy import Network
from shared.provider_words import without, words_of
from webapp.outbound import Line, LineAdapter, NotAllowed, UnknownName, reason_of

TIMEOUT_SECONDS = 10.0
_MOST_BYTES = 256 * 1024  # of an answer; what is behind them is not read
# By dialect: what lists models, at most one of them, and the field in which the answer has them.
_LISTS = {
    "openai": ("/v1/models", "data"),
    "anthropic": ("/v1/models?limit=1", "data"),
    "gemini": ("/v1beta/models?pageSize=1", "models"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the question. `message` is for people, and holds neither the credential nor a part of it."""

    ok: bool
    message: str
    status: int | None = None  # of the provider's answer; None: there was none
    seconds: float = 0.0
    server_time: datetime | None = None  # as the provider's answer tells it, to the second


class Chosen(NamedTuple):
    """Of a provider of an organisation's own: what is asked for, and where it may be although it is not public."""

    question: str  # the address of its list of models
    allowed: Sequence[Network]


class SystemRoots(HTTPAdapter):
    """Trusts the system's roots beside certifi's, as the proxy does."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=_system_roots(), **options)


@cache
def _system_roots() -> Any:
    """Read once in a process, as the proxy does: it takes longer than to ask somebody who is near."""
    context = create_urllib3_context()
    context.load_default_certs()
    return context


def try_connection(
    provider: Provider,
    base_url: str,
    credential: str,
    chosen: Chosen | None = None,
    *,
    timeout_seconds: float | None = None,
) -> Outcome:
    """Ask the provider at `base_url`, which is without version path, for a list of models with this credential.

    It is asked directly, as the proxy asks it: by no proxy of the environment, and with nobody's .netrc in the place of
    the credential. A redirect is not followed, because the credential must not go elsewhere. `chosen` is of a provider
    of the organisation's own, of which `base_url` is what an SDK takes.
    """
    timeout_seconds = timeout_seconds or TIMEOUT_SECONDS
    if not (credential.isascii() and credential.isprintable()):
        return Outcome(ok=False, message="The credential has characters that no header carries. Was it cut or wrapped?")
    path, _ = _LISTS[provider.dialect]
    headers = {name.decode(): value.decode() for name, value in provider.extra_headers}
    if provider.auth_header:
        headers[provider.auth_header.decode()] = provider.auth_prefix.decode() + credential
    began = time.monotonic()
    with requests.Session() as session, contextlib.ExitStack() as stack:
        session.trust_env = False
        session.mount("https://", SystemRoots())
        if chosen is not None:
            line = stack.enter_context(Line(chosen.allowed, timeout_seconds, timeout_seconds))
            for scheme in ("http://", "https://"):
                session.mount(scheme, LineAdapter(line))
        try:
            answer = session.get(
                f"{base_url.rstrip('/')}{path}" if chosen is None else chosen.question,
                headers=headers,
                timeout=timeout_seconds,
                allow_redirects=False,
                stream=True,
            )
            with answer:
                body = _read(answer, began + timeout_seconds)
        except NotAllowed:
            words = "which ROUTER_PROVIDERS_PRIVATE_ADDRESSES does not allow either"
            return Outcome(ok=False, message=f"{base_url} leads to an address that is not public, {words}.")
        except UnknownName:
            words = "its name is not known to the resolver of this machine"
            return Outcome(ok=False, message=f"{provider.label} cannot be reached at {base_url}: {words}.")
        except (requests.RequestException, HTTPError, OSError) as error:
            return Outcome(
                ok=False,
                message=_unreachable(provider.label, base_url, error, timeout_seconds),
                seconds=time.monotonic() - began,
            )
    ok, message = _judged(provider, base_url, credential, answer, body, own=chosen is not None)
    return Outcome(
        ok=ok,
        message=without(message, credential),
        status=answer.status_code,
        seconds=time.monotonic() - began,
        server_time=_moment(answer.headers),
    )


def _read(answer: requests.Response, deadline: float) -> bytes:
    """The body, as far as it comes within its bounds of time and size."""
    read = bytearray()
    while len(read) < _MOST_BYTES and time.monotonic() < deadline:
        # What has arrived, instead of all that was asked for: a server that sends a byte now and then holds up nobody.
        piece = answer.raw.read1(16 * 1024, decode_content=True)
        if not piece:
            break
        read += piece
    return bytes(read)


def _judged(
    provider: Provider, base_url: str, credential: str, answer: requests.Response, body: bytes, *, own: bool
) -> tuple[bool, str]:
    """Whether an answer is a good one, and what it means."""
    status, name = answer.status_code, provider.label
    document, field = _document(body), _LISTS[provider.dialect][1]
    said = words_of(document, credential)
    told = f": {said}" if said else "."
    if status == 200:
        if _is_list(document, body, field):
            return True, f"{name} answers and takes the credential." if credential else f"{name} answers."
        return False, f"{base_url} answers, but not as {name} does. Is it the base URL of {name}?"
    if 300 <= status < 400:
        return False, f"{base_url} redirects elsewhere ({status}). Set the base URL to the address that it leads to."
    if status in (401, 403) or (status == 400 and "api key" in said.lower()):
        return False, f"{name} refuses the credential ({status}){told}"
    if status == 429:
        return False, f"{name} knows the credential, and takes no more requests of it at the moment ({status}){told}"
    if status >= 500:
        return False, f"{name} fails at the moment ({status}){told}"
    if status in (404, 405) and own:
        return False, (
            f"{base_url} answers, and has no list of models ({status}). Some servers have none; of others it is not "
            "the base URL, which often ends with /v1."
        )
    if status in (404, 405):
        return False, (
            f"{base_url} has no list of models ({status}). Is it the base URL of {name}, without a version such as /v1?"
        )
    return False, f"{name} refuses the question ({status}){told}"


def _unreachable(name: str, base_url: str, error: Exception, timeout_seconds: float) -> str:
    """Why there is no answer. The texts of foreign exceptions are not repeated: they may hold what was sent."""
    if isinstance(error, requests.Timeout | Silence):
        return f"{name} does not answer at {base_url} within {timeout_seconds:g} seconds."
    if isinstance(error, requests.exceptions.SSLError):
        return f"{name} cannot be reached at {base_url}: no safe connection. {_certificate(error)}"
    cause = _cause(error)
    if (why := reason_of(error)) is not None and not isinstance(cause, NewConnectionError):
        return f"{name} cannot be reached at {base_url}: {why}."
    if isinstance(cause, NameResolutionError):
        return f"{name} cannot be reached at {base_url}: its name is not known to the resolver of this machine."
    if isinstance(cause, NewConnectionError) and isinstance(cause.__cause__, OSError):
        return f"{name} cannot be reached at {base_url}: {(cause.__cause__.strerror or 'no connection').lower()}."
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return f"{base_url} is no address that can be asked. It begins with http:// or https://."
    return f"{name} cannot be reached at {base_url}: the connection broke off."


def _cause(error: Exception) -> object:
    """What urllib3 gave up for, behind the layers that requests puts around it."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", None) or inner


def _certificate(error: Exception) -> str:
    text = str(error).lower()
    if "certificate" not in text:
        return "What answers there may not speak TLS."
    if "hostname mismatch" in text or "not valid for" in text or "doesn't match" in text:
        return "Its certificate is made for another name."
    if "expired" in text:
        return "Its certificate has expired, or the clock of this machine is wrong."
    return "Its certificate is of nobody whom this machine trusts."


def _is_list(document: object, body: bytes, field: str) -> bool:
    """That of a large account is longer than what is read of it, and so is no document."""
    if len(body) >= _MOST_BYTES:
        return body.lstrip()[:1] == b"{" and f'"{field}"'.encode() in body
    return isinstance(document, dict) and isinstance(document.get(field), list)


def _document(body: bytes) -> object:
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(body)
    return None


def _moment(headers: Mapping[str, str]) -> datetime | None:
    try:
        told = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return told.astimezone(UTC) if told.tzinfo else told.replace(tzinfo=UTC)
