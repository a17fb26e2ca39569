"""A provider of OpenID Connect: where it sends people to say who they are, and what it says of who came back.

The authorisation code flow with PKCE (OpenID Connect Core 1.0, RFC 7636), by Authlib; Authlib's own dependency joserfc
checks signatures. Knows nothing of this app's requests, pages and tables. What the provider publishes of itself and its
keys is kept for an hour, and longer while it cannot be asked; what it says of a person is asked anew each time.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import requests
from authlib.common.urls import add_params_to_uri  # type: ignore[import-untyped]
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from shared.config import SignIn
from webapp.oidc_claims import Person, lacks_something, person_of
from webapp.provider_test import SystemRoots

KEPT_SECONDS = 3600.0
TIMEOUT_SECONDS = 5.0  # of a connection, and of each piece of an answer
# Who could not be asked is left alone for a moment, or everybody who wants to log in would wait for it in turn.
QUIET_SECONDS = 5.0
CLOCKS_DIFFER_SECONDS = 120
# Signatures by a key that the provider alone has. Others are not taken, whatever the provider offers.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_METADATA = "/.well-known/openid-configuration"

Fault = Literal["unreachable", "misconfigured", "code_refused", "client_refused", "token_refused", "token_expired"]


class ProviderFault(Exception):
    """The provider cannot be asked, or what it says cannot be taken. The text is for the log, and holds no secret."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a browser keeps while its owner is at the provider. Who comes back without it did not leave from here."""

    state: str
    nonce: str
    verifier: str

    def __repr__(self) -> str:
        return "Attempt(...)"


class Provider:
    """The provider of the settings. Each method but `make_attempt` may ask it, and raises ProviderFault."""

    def __init__(self, settings: SignIn, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._metadata: tuple[float, dict[str, Any]] | None = None  # and when it was fetched
        self._keys: tuple[float, KeySet] | None = None
        self._failed: tuple[float, Fault, str] | None = None

    @staticmethod
    def make_attempt() -> Attempt:
        return Attempt(*(secrets.token_urlsafe(size) for size in (24, 24, 48)))

    def login_url(self, attempt: Attempt, redirect_uri: str, *, anew: bool = False) -> str:
        """Where to send the browser. With `anew` the provider asks who it is even if it knows the browser."""
        more = {"prompt": "login"} if anew else {}
        with self._session(redirect_uri=redirect_uri) as session:
            url, _ = session.create_authorization_url(
                self._published()["authorization_endpoint"],
                state=attempt.state,
                code_verifier=attempt.verifier,
                nonce=attempt.nonce,
                **more,
            )
        return str(url)

    def check(self) -> None:
        """Ask it for what it publishes, unless that is known."""
        self._published()

    @property
    def has_logout(self) -> bool:
        """Whether it has a page to log out at, as far as is known without asking."""
        return self._metadata is not None and _scheme(self._metadata[1].get("end_session_endpoint")) != ""

    def logout_url(self, back_to: str) -> str | None:
        """Where somebody logs out at the provider itself (RP-Initiated Logout 1.0); None when it has no such page."""
        endpoint = self._published().get("end_session_endpoint")
        if _scheme(endpoint) not in ("http", "https"):
            return None
        fields = [("client_id", self._settings.client_id), ("post_logout_redirect_uri", back_to)]
        return str(add_params_to_uri(endpoint, fields))

    def redeem(self, code: str, attempt: Attempt, redirect_uri: str, at: datetime) -> Person:
        """Who the code is about, at the moment `at`."""
        published = self._published()
        token = self._token(published, code, attempt, redirect_uri)
        raw = token.get("id_token")
        if not isinstance(raw, str):
            raise ProviderFault("misconfigured", "it sent no ID token")
        claims = self._claims(published, raw, token.get("access_token"), attempt.nonce, at)
        endpoint = published.get("userinfo_endpoint")
        if endpoint and token.get("access_token") and lacks_something(self._settings, claims):
            claims = self._with_userinfo(str(endpoint), str(token["access_token"]), claims)
        person = person_of(self._settings, published["issuer"], claims)
        if person is None:
            raise ProviderFault("token_refused", "its subject is none")
        return person

    def _token(self, published: Mapping[str, Any], code: str, attempt: Attempt, redirect_uri: str) -> Mapping[str, Any]:
        taken = published.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = None if "client_secret_basic" in taken or "client_secret_post" not in taken else "client_secret_post"
        try:
            with self._session(
                redirect_uri=redirect_uri,
                token_endpoint_auth_method=method if self._settings.client_secret else None,
            ) as session:
                found: Mapping[str, Any] = session.fetch_token(
                    published["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=attempt.verifier,
                    allow_redirects=False,
                )
        except OAuthError as error:
            ours = error.error in ("invalid_client", "unauthorized_client")
            raise ProviderFault("client_refused" if ours else "code_refused", f"it says {error.error}") from None
        except (requests.RequestException, ValueError) as error:
            raise _unreachable(error) from None
        return found

    def _claims(
        self, published: Mapping[str, Any], raw: str, access_token: object, nonce: str, at: datetime
    ) -> dict[str, Any]:
        """What the ID token says, once it is known to be the provider's, for us, for this attempt, and of now."""
        offered = published.get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = [name for name in _ALGORITHMS if name in offered] or ["RS256"]
        registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
        wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": published["issuer"]},
            "aud": {"essential": True, "value": self._settings.client_id},
            "nonce": {"essential": True, "value": nonce},
        }
        given = {"nonce": nonce, "client_id": self._settings.client_id, "access_token": access_token}
        try:
            try:
                token = jwt.decode(raw, self._key_set(published), registry=registry)
            except (InvalidKeyIdError, BadSignatureError):
                # It may have changed its keys since they were fetched.
                token = jwt.decode(raw, self._key_set(published, anew=True), registry=registry)
            claims = CodeIDToken(token.claims, token.header, wanted, given)
            claims.validate(int(at.timestamp()), CLOCKS_DIFFER_SECONDS)
        except ExpiredTokenError:
            raise ProviderFault("token_expired", "the ID token has expired") from None
        except (JoseError, TypeError, ValueError) as error:
            raise ProviderFault("token_refused", f"the ID token cannot be taken: {error}") from None
        return dict(claims)

    def _with_userinfo(self, endpoint: str, access_token: str, claims: dict[str, Any]) -> dict[str, Any]:
        more = self._fetched(endpoint, {"Authorization": f"Bearer {access_token}"})
        if more.get("sub") != claims["sub"]:
            raise ProviderFault("token_refused", "its userinfo is about somebody else")
        told = {name: value for name, value in claims.items() if value is not None}
        if more.get("email") != told.get("email", more.get("email")):
            more.pop("email_verified", None)  # of another address than the token's
        return {**more, **told}

    def _published(self) -> dict[str, Any]:
        """What the provider says of itself (OpenID Connect Discovery 1.0)."""
        now, kept, failed = self._monotonic(), self._metadata, self._failed
        if kept is not None and now - kept[0] < KEPT_SECONDS:
            return kept[1]
        if failed is None or now - failed[0] >= QUIET_SECONDS:
            try:
                found = self._checked(self._fetched(self._settings.issuer.rstrip("/") + _METADATA))
            except ProviderFault as fault:
                self._failed = failed = (self._monotonic(), fault.fault, str(fault))
            else:
                self._metadata, self._failed = (now, found), None
                return found
        if kept is None:
            raise ProviderFault(*failed[1:])
        return kept[1]

    def _checked(self, found: dict[str, Any]) -> dict[str, Any]:
        """Whether it is of whom we asked, and nothing that is secret would go over an open line."""
        issuer = found.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._settings.issuer.rstrip("/"):
            raise ProviderFault("misconfigured", "it calls itself otherwise than ROUTER_OIDC_ISSUER")
        schemes = ("https",) if issuer.startswith("https") else ("http", "https")
        for name in (*_ENDPOINTS, *({"userinfo_endpoint"} & found.keys())):
            if _scheme(found.get(name)) not in schemes:
                raise ProviderFault("misconfigured", f"its {name} is no {schemes[0]} address")
        return found

    def _key_set(self, published: Mapping[str, Any], *, anew: bool = False) -> KeySet:
        now, kept = self._monotonic(), self._keys
        if kept is not None and not anew and now - kept[0] < KEPT_SECONDS:
            return kept[1]
        try:
            document: Any = self._fetched(published["jwks_uri"])
            found: KeySet = KeySet.import_key_set(document)
        except ProviderFault:
            if kept is None or anew:
                raise
            return kept[1]  # for as long as it cannot be asked
        except (JoseError, AttributeError, KeyError, TypeError, ValueError):
            raise ProviderFault("misconfigured", "its keys cannot be read") from None
        self._keys = (now, found)
        return found

    def _fetched(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object of the provider's."""
        try:
            with self._session() as session:
                answer = session.request("GET", url, withhold_token=True, headers=headers, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise _unreachable(error) from None
        if not isinstance(found, dict):
            raise ProviderFault("misconfigured", "it answers with something else than a JSON object")
        return found

    def _session(self, **more: Any) -> Any:
        """It goes by no proxy of the environment, as nothing of this router does."""
        more |= {"scope": self._settings.scopes, "code_challenge_method": "S256", "default_timeout": TIMEOUT_SECONDS}
        session = OAuth2Session(self._settings.client_id, self._settings.client_secret, **more)
        session.trust_env = False
        session.mount("https://", SystemRoots())
        return session


def _scheme(url: object) -> str:
    """That of an address; empty when it is none."""
    try:
        return urlsplit(url).scheme if isinstance(url, str) else ""
    except ValueError:
        return ""


def _unreachable(error: Exception) -> ProviderFault:
    """The texts of foreign exceptions are not repeated: they may hold what was sent."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return ProviderFault("unreachable", f"it answers {error.response.status_code}")
    if isinstance(error, requests.Timeout):
        return ProviderFault("unreachable", f"it does not answer within {TIMEOUT_SECONDS:g} seconds")
    if isinstance(error, requests.ConnectionError):
        safe = "safe " if isinstance(error, requests.exceptions.SSLError) else ""
        return ProviderFault("unreachable", f"there is no {safe}connection to it")
    return ProviderFault("unreachable", "it answers with something else than JSON")
