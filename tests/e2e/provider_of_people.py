"""A real provider of OpenID Connect on a port of this machine: oidc-provider-mock, made as strict as others are.

The package itself looks at neither PKCE nor the client's secret nor the redirect address when a code is redeemed. In
front of it stands what does, and what can be told to misbehave: to sign something else, or to be out of order.
"""

import base64
import hashlib
import io
import json
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import flask
import pytest
import requests
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CLIENT_ID, CLIENT_SECRET = "the-router", "a-secret/of+the:client%"
Claims = dict[str, Any]
# The package does not use what Authlib has instead of this by now. It answers in a thread, by the filters of a test.
OF_THE_PROVIDER = pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")


class PeopleProvider:
    """Who people are, by their subject. `alter` changes what an ID token says, `alter_userinfo` what the userinfo does,
    and `down` is a status for every answer."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app
        self.issuer = ""
        self.calls: Counter[str] = Counter()
        self.keys = [RSAKey.generate_key(2048, {"kid": "first"})]
        self._sent: dict[str, dict[str, str]] = {}  # with what each code was asked for
        self.behave()

    def behave(self) -> None:
        """As it does at first."""
        self.alter: Callable[[Claims], Claims] = dict
        self.sign: Callable[[Claims], str] = self.signed
        self.metadata: dict[str, Any] = {}
        self.in_userinfo: tuple[str, ...] = ()  # claims that the ID token leaves out
        self.alter_userinfo: Callable[[Claims], Claims] = dict
        self.down = 0
        self.calls.clear()

    def settings(self) -> dict[str, str]:
        """Those of a router that has this provider."""
        return {
            "ROUTER_OIDC_ISSUER": self.issuer,
            "ROUTER_OIDC_CLIENT_ID": CLIENT_ID,
            "ROUTER_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        }

    def knows(self, subject: str, **claims: Any) -> None:
        """Somebody with a verified email, unless the claims say otherwise; a claim that is None is not there."""
        told = {"email": f"{subject}@example.com", "email_verified": True, **claims}
        document = {name: value for name, value in told.items() if value is not None}
        requests.put(f"{self.issuer}/users/{subject}", json=document, timeout=10).raise_for_status()

    @staticmethod
    def answer(url: str, **form: str) -> str:
        """Say there who one is, `sub=...`, or `action="deny"`, as a browser would; the address one is sent back to."""
        sent = requests.post(url, data=form, allow_redirects=False, timeout=10)
        assert sent.status_code == 302, sent.text
        return sent.headers["Location"]

    def signed(self, claims: Claims) -> str:
        key = self.keys[-1]
        return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        body = request.get_data()
        environ["wsgi.input"] = io.BytesIO(body)
        self.calls[request.path] += 1
        if self.down:
            return Response("out of order", self.down)(environ, start_response)
        if request.path == "/jwks":
            keys = KeySet(list(self.keys)).as_dict(private=False)
            return _json(keys)(environ, start_response)
        if request.path == "/oauth2/token" and (refusal := self._refusal(request, body)) is not None:
            return refusal(environ, start_response)
        answer = Response.from_app(self._app, environ)
        if request.path.startswith("/.well-known/"):
            answer = _json({**json.loads(answer.get_data()), **self.metadata})
        if request.path == "/userinfo" and answer.status_code == 200:
            answer = _json(self.alter_userinfo(json.loads(answer.get_data())))
        if request.path == "/oauth2/authorize" and "Location" in answer.headers:
            self._sent_back(request, answer)
        if request.path == "/oauth2/token" and answer.status_code == 200:
            token = json.loads(answer.get_data())
            claims = self.alter(_payload(token["id_token"]))
            kept = {name: value for name, value in claims.items() if name not in self.in_userinfo}
            answer = _json({**token, "id_token": self.sign(kept)})
        return answer(environ, start_response)

    def _sent_back(self, request: Request, answer: Response) -> None:
        """Remember what a code was made for; a denial gets the state, which the package forgets."""
        asked, back = request.args, urlsplit(answer.headers["Location"])
        query = dict(parse_qsl(back.query))
        if "code" in query:
            self._sent[query["code"]] = dict(asked)
        query.setdefault("state", asked.get("state", ""))
        answer.headers["Location"] = back._replace(query=urlencode(query)).geturl()

    def _refusal(self, request: Request, body: bytes) -> Response | None:
        """RFC 6749, 4.1.3 and RFC 7636, 4.6: who redeems a code is who it was made for."""
        known = request.authorization
        if known is None or (known.username, known.password) != (CLIENT_ID, CLIENT_SECRET):
            return _json({"error": "invalid_client"}, 401)
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        asked = self._sent.pop(form.get("code", ""), None)
        if asked is None or asked["redirect_uri"] != form.get("redirect_uri"):
            return _json({"error": "invalid_grant"}, 400)
        made = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (asked["code_challenge_method"], asked["code_challenge"]) != ("S256", made.rstrip(b"=").decode()):
            return _json({"error": "invalid_grant"}, 400)
        return None


class _KeyAtHand:
    """What the package signs with, before `PeopleProvider` does again. Its own it reads anew for each token, which takes
    longer than all the rest of a login."""

    def __init__(self) -> None:
        self._key = RSAKey.generate_key(2048)

    def as_dict(self, *, is_private: bool) -> RSAKey:
        assert is_private
        return self._key


def _json(document: Any, status: int = 200) -> Response:
    return Response(json.dumps(document), status, mimetype="application/json")


def _payload(token: str) -> Claims:
    """What a token says, whoever signed it."""
    part = token.split(".")[1]
    found: Claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@contextmanager
def running() -> Iterator[PeopleProvider]:
    """It, listening."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the package's own use of Authlib
        import oidc_provider_mock  # type: ignore[import-untyped]

        app, key = oidc_provider_mock.app(require_nonce=True), _KeyAtHand()
        app.before_request(lambda: setattr(flask.g.oidc_provider_mock_storage, "jwk", key))
        provider = PeopleProvider(app)
    server = make_server("localhost", 0, provider, threaded=True)
    provider.issuer = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
