"""Asks a provider whether it takes the organisation's credential, by the cheapest read it has: its list of models.

What it says is told in its own words, without the credential, whatever it repeats of it. Redirects are not followed
and nothing of the environment is heeded (a proxy, a .netrc): the credential goes where the router's own requests go.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

import requests
from flask import current_app
from requests.adapters import HTTPAdapter
from sqlalchemy import select
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.util.ssl_ import create_urllib3_context

from shared.catalog import PROVIDERS, Provider
from shared.models import ProviderCredential
from shared.sealing import Sealer, UnsealError
from shared.secret_text import MASK, masked
from webapp.db import db
from webapp.offload import OFFLOAD, TookTooLong
from webapp.queries.providers import get_provider
from webapp.views.providers import ConnectionView, ProviderView

SECONDS = 10
_CONNECT_SECONDS = 5
_MOST_BYTES = 262_144
_LONGEST_SAYING = 300
_LISTS = {"openai": "/v1/models", "anthropic": "/v1/models?limit=1", "gemini": "/v1beta/models?pageSize=1"}


@dataclass(frozen=True, slots=True)
class _Answer:
    """A status and the beginning of a body, or the sentence that says why there is none."""

    status: int | None
    body: bytes
    trouble: str
    latency_ms: int | None


def check_connection(org_id: str, slug: str) -> ConnectionView:
    """Ask the provider. Raises NotFound, and `offload.TooBusy` when too many ask at the same time."""
    view = get_provider(org_id, slug)
    query = select(ProviderCredential.sealed).where(
        ProviderCredential.org_id == org_id, ProviderCredential.provider == slug
    )
    sealed = db.session.scalar(query)
    db.session.rollback()  # a provider may take its time, and others need the connection
    if sealed is None:
        return ConnectionView(slug, False, None, f"There is no credential for {view.label} yet.", None)
    try:
        secret = Sealer(current_app.extensions["settings"].encryption_keys).unseal(sealed)
    except UnsealError:
        words = "The stored credential cannot be opened: ROUTER_ENCRYPTION_KEY was changed. Replace the credential."
        return ConnectionView(slug, False, None, words, None)
    try:
        answer: _Answer = OFFLOAD.calls(_ask, PROVIDERS[slug], view.base_url, secret)
    except TookTooLong:
        answer = _Answer(None, b"", f"did not answer within {SECONDS} seconds", None)
    said = _said(answer.body, secret)
    ok = answer.status is not None and 200 <= answer.status < 300 and _is_list(answer.body)
    return ConnectionView(slug, ok, answer.status, _words(view, answer, said, ok=ok), answer.latency_ms)


class _Roots(HTTPAdapter):
    """Certificates are judged as the proxy judges them: by the system's roots beside certifi's."""

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        context = create_urllib3_context()
        context.load_default_certs()
        super().init_poolmanager(*arguments, ssl_context=context, **more)


def _ask(provider: Provider, base_url: str, secret: str) -> _Answer:
    headers = {
        "User-Agent": "enterprise-router",
        "Accept-Encoding": "identity",
        provider.auth_header.decode(): provider.auth_prefix.decode() + secret,
        **{name.decode(): value.decode() for name, value in provider.extra_headers},
    }
    began = time.monotonic()
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", _Roots())
            answer = session.get(
                base_url.rstrip("/") + _LISTS[provider.dialect],
                headers=headers,
                timeout=(_CONNECT_SECONDS, SECONDS - 1),
                allow_redirects=False,
                stream=True,
            )
            with answer:
                body: bytes = answer.raw.read(_MOST_BYTES, decode_content=True)
                return _Answer(answer.status_code, body, "", int((time.monotonic() - began) * 1000))
    except (requests.RequestException, HTTPError) as error:
        return _Answer(None, b"", _trouble(error), None)


def _trouble(error: Exception) -> str:
    """Why there was no answer. Errors of the libraries name addresses and objects, so their own text is left out."""
    if isinstance(error, requests.Timeout):
        return f"did not answer within {SECONDS} seconds"
    if isinstance(error, requests.exceptions.SSLError):
        return "cannot be trusted: its certificate is of no authority that is known here, or for another name"
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, NameResolutionError):
        return "cannot be found: its name has no address here (DNS)"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached: nothing answers at its address, or the network does not let us through"
    return "broke off its answer"


def _said(body: bytes, secret: str) -> str:
    """The message in an error of any dialect, as text that is fit to be shown; "" if there is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    if not isinstance(message, str):
        return ""
    plain = " ".join(message.replace(secret, MASK).split())
    plain = "".join(character for character in masked(plain) if character.isprintable())
    # Some repeat a part of what they were sent. Of ours nothing is told that is longer than what is shown anyway.
    for piece in {secret[start : start + 8] for start in range(len(secret) - 7)}:
        if piece in plain:
            plain = re.sub(rf"\S*{re.escape(piece)}\S*", MASK, plain)
    return plain if len(plain) <= _LONGEST_SAYING else f"{plain[:_LONGEST_SAYING]}..."


def _is_list(body: bytes) -> bool:
    """Whether it looks like a list of models; that of a large account may be longer than what was read of it."""
    return body.lstrip()[:1] == b"{" and (b'"data"' in body or b'"models"' in body)


def _words(view: ProviderView, answer: _Answer, said: str, *, ok: bool) -> str:
    label, status = view.label, answer.status
    quoted = f" {label} says: “{said}”" if said else ""
    if ok:
        return f"{label} takes this credential."
    if status is None:
        return f"{label} {answer.trouble}. The address is {view.base_url} ({view.base_url_setting})."
    if status in (400, 401, 403):
        return f"{label} refuses this credential ({status}).{quoted}"
    if status == 429:
        return f"{label} answers, but allows no more requests at the moment ({status}).{quoted}"
    if status >= 500:
        return f"{label} has trouble of its own ({status}). Try again later.{quoted}"
    return (
        f"What answers at {view.base_url} is not {label} ({status}). Look at {view.base_url_setting}: it is an address "
        f"without the version's path.{quoted}"
    )
