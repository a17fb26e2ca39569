"""Which ID tokens count: those that the provider signed, for this router, for this login, and of now."""

import base64
import json
from collections.abc import Callable

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


# What is changed of a token that would count.
ALTERED: dict[str, Alter] = {
    "audience": lambda claims: {**claims, "aud": "another"},
    "party": lambda claims: {**claims, "aud": ["another", "the-router"], "azp": "another"},
    "issuer": lambda claims: {**claims, "iss": "https://another.example"},
    "nonce": lambda claims: {**claims, "nonce": "of another login"},
    "from the future": lambda claims: {**claims, "iat": claims["iat"] + 200},
    "not yet": lambda claims: {**claims, "nbf": claims["iat"] + 200},
    "nobody": lambda claims: {**claims, "sub": ""},
    "too long": lambda claims: {**claims, "sub": "x" * 256},
    "unstorable": lambda claims: {**claims, "sub": "a\0b"},
    "a number": lambda claims: {**claims, "sub": 7},
    "hash": lambda claims: {**claims, "at_hash": "of-another"},
}
NEEDED = ("aud", "iss", "nonce", "exp", "iat", "sub")


def test_a_token_that_is_not_for_this_login(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    for name, alter in ALTERED.items():
        provider.alter = alter
        assert refused(app, sign_in(provider, client), 502, "is not meant for this router or login"), name


def without(name: str) -> Alter:
    return lambda claims: {key: claims[key] for key in claims if key != name}


def test_a_token_that_lacks_something(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    for left_out in NEEDED:
        provider.alter = without(left_out)
        assert refused(app, sign_in(provider, client), 502, "is not meant for this router or login"), left_out


def test_a_token_that_the_provider_has_not_signed(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    provider.metadata = {"id_token_signing_alg_values_supported": ["none", "HS256", "RS256"]}
    signers: list[Callable[[Claims], str]] = [other_key, by_the_secret, unsigned]
    for sign in (*signers, lambda _: "", lambda _: "a.b.c", lambda _: "x" * 9000):
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
