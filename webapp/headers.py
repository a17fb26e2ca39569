"""What every answer carries: the request id, and the headers that keep a browser from being talked into things.

The same stand on static files, which whitenoise serves before Flask sees the request.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.headers import Headers

from flask import Flask, Response, g, request
from whitenoise import WhiteNoise

from shared.addresses import parse, scheme_told
from shared.ids import new_id
from shared.policy.values import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_MOST_WARNINGS = 20
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
_ALWAYS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_UNTRUSTED = (
    "X-Forwarded-Proto: https comes from %s, which is not in ROUTER_TRUSTED_PROXIES. If that is your proxy, "
    "name it there: until then cookies are not Secure, there is no HSTS, and all behind it have its address."
)
_NOT_TOLD = (
    "ROUTER_DASHBOARD_URL is https, and %s sends requests without X-Forwarded-Proto: https. If that is your proxy, let "
    "it send that, and name it in ROUTER_TRUSTED_PROXIES: until then cookies are not Secure, and there is no HSTS."
)
_HSTS = ("Strict-Transport-Security", "max-age=31536000")


def init_app(
    app: Flask, static: Path, trusted_proxies: tuple[Network, ...], *, dashboard_url: str | None = None
) -> None:
    """Give each request an id and each answer its headers; serve `static` below /static/."""
    app.before_request(_identify)
    app.after_request(_complete)
    files = WhiteNoise(
        app.wsgi_app,
        root=static,
        prefix="static/",
        add_headers_function=_static_headers,
        # Pages ask for every file by a name or a query that changes with its content.
        immutable_file_test=lambda _path, _url: True,
        allow_all_origins=False,
    )
    tls_needed = (dashboard_url or "").startswith("https:")
    app.wsgi_app = _TrustedScheme(files, trusted_proxies, tls_needed=tls_needed)  # type: ignore[method-assign]


class _TrustedScheme:
    """Believes `X-Forwarded-Proto: https` of a trusted proxy, and puts HSTS on everything sent under TLS."""

    def __init__(self, app: "WSGIApplication", trusted: tuple[Network, ...], *, tls_needed: bool) -> None:
        self._app = app
        self._trusted = trusted
        self._tls_needed = tls_needed
        self._warned: set[str] = set()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        said = scheme_told(environ.get("HTTP_X_FORWARDED_PROTO", ""))
        peer = environ.get("REMOTE_ADDR", "")
        if said in ("http", "https") and self._is_trusted(peer):
            environ["wsgi.url_scheme"] = said
        elif said == "https":
            self._warn(peer, _UNTRUSTED)
        elif self._tls_needed and environ.get("wsgi.url_scheme") != "https":
            self._warn_of_http(environ, peer)
        if environ.get("wsgi.url_scheme") != "https":
            return self._app(environ, start_response)

        def start(status, headers, exc_info=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - PEP 3333's
            return start_response(status, [*headers, _HSTS], exc_info)

        return self._app(environ, start)

    def _warn_of_http(self, environ: "WSGIEnvironment", peer: str) -> None:
        """Not of a health check, which no browser makes."""
        if environ.get("PATH_INFO") != "/healthz":
            self._warn(peer, _NOT_TOLD)

    def _warn(self, peer: str, words: str) -> None:
        """Say once of each peer that it may be a proxy which was forgotten, or says too little."""
        if peer in self._warned or len(self._warned) >= _MOST_WARNINGS:
            return
        self._warned.add(peer)
        log.warning(words, peer)

    def _is_trusted(self, peer: str) -> bool:
        address = parse(peer)
        return address is not None and any(address in network for network in self._trusted)


def _identify() -> None:
    g.request_id = new_id("req")


def _complete(response: Response) -> Response:
    for name, value in _ALWAYS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("X-Request-Id", g.get("request_id", ""))
    response.headers.setdefault("Cache-Control", "no-store")
    if request.endpoint is not None and response.mimetype == "text/html":
        response.vary.add("HX-Request")
    return response


def _static_headers(headers: Headers, _path: str, _url: str) -> None:
    for name, value in _ALWAYS.items():
        headers[name] = value
