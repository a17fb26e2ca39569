"""Which ID tokens count: those that the provider signed, for this router, for this login, and of now."""

import base64
import json
from collections.abc import Callable

import pytest
from dashboard_kit import Clock
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from provider_of_people import CLIENT_SECRET, OF_THE_PROVIDER, Claims, PeopleProvider
from single_sign_on_kit import let_in, refused, sign_in

pytestmark = OF_THE_PROVIDER
Alter = Callable[[Claims], Claims]


def test_it_works(client: FlaskClient, provider: PeopleProvider) -> None:
    """The audience may be a list, with the router as the party that it is meant for."""
    provider.alter = lambda claims: {**claims, "aud": ["another", "the-router"], "azp": "the-router"}
    assert let_in(sign_in(provider, client))


def other_key(claims: Claims) -> str:
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, RSAKey.generate_key(2048))


def by_the_secret(claims: Claims) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET * 2), algorithms=["HS256"])


def unsigned(claims: Claims) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda claims: {**claims, "aud": "another"}, id="audience"),
        pytest.param(lambda claims: {**claims, "aud": ["another", "the-router"], "azp": "another"}, id="party"),
        pytest.param(lambda claims: {**claims, "iss": "https://another.example"}, id="issuer"),
        pytest.param(lambda claims: {**claims, "nonce": "of another login"}, id="nonce"),
        pytest.param(lambda claims: {**claims, "iat": claims["iat"] + 200}, id="from the future"),
        pytest.param(lambda claims: {**claims, "nbf": claims["iat"] + 200}, id="not yet"),
        pytest.param(lambda claims: {**claims, "sub": ""}, id="nobody"),
        pytest.param(lambda claims: {**claims, "sub": "x" * 256}, id="too long"),
        pytest.param(lambda claims: {**claims, "sub": "a\0b"}, id="unstorable"),
        pytest.param(lambda claims: {**claims, "sub": 7}, id="a number"),
        pytest.param(lambda claims: {**claims, "at_hash": "of-another"}, id="hash"),
        *(
            pytest.param(lambda claims, left=name: {**claims, left: None}, id=f"without {name}")
            for name in ("aud", "iss", "nonce", "exp", "iat", "sub")
        ),
    ],
)
def test_a_token_that_is_not_for_this_login(
    app: Flask, client: FlaskClient, provider: PeopleProvider, alter: Alter
) -> None:
    provider.alter = lambda claims: {name: value for name, value in alter(claims).items() if value is not None}
    assert refused(app, sign_in(provider, client), 502, "is not meant for this router or login")


@pytest.mark.parametrize(
    "sign", [other_key, by_the_secret, unsigned, lambda _: "", lambda _: "a.b.c", lambda _: "x" * 9000]
)
def test_a_token_that_the_provider_has_not_signed(
    app: Flask, client: FlaskClient, provider: PeopleProvider, sign: Callable[[Claims], str]
) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
    provider.sign = sign
    assert refused(app, sign_in(provider, client), 502, "is not meant for this router or login")


def test_clocks_may_differ_a_little(app: Flask, clock: Clock, client: FlaskClient, provider: PeopleProvider) -> None:
    provider.alter = lambda claims: {**claims, "exp": claims["iat"] + 1}
    clock.forward(seconds=100)
    assert let_in(sign_in(provider, client))
    clock.forward(seconds=-200)
    assert let_in(sign_in(provider, app.test_client()))


def test_a_token_that_has_expired(app: Flask, clock: Clock, client: FlaskClient, provider: PeopleProvider) -> None:
    provider.alter = lambda claims: {**claims, "exp": claims["iat"] + 1}
    clock.forward(seconds=130)
    assert refused(app, sign_in(provider, client), 502, "has expired already. One of the two clocks may be wrong.")


def test_userinfo_about_somebody_else(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    provider.alter = lambda claims: {name: claims[name] for name in claims if name != "email"} | {"sub": "bob"}
    assert refused(app, sign_in(provider, client), 502, "is not meant for this router or login")


def test_keys_may_change(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    assert let_in(sign_in(provider, client))
    provider.keys = [RSAKey.generate_key(2048, {"kid": "second"})]
    assert let_in(sign_in(provider, app.test_client()))
    assert let_in(sign_in(provider, app.test_client()))
    assert (provider.calls["/jwks"], provider.calls["/.well-known/openid-configuration"]) == (2, 1)
