"""What can go wrong on the way to the provider and back: each is a page with a sentence, and opens nothing."""

import pytest
from cli_kit import Command
from dashboard_kit import Clock
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import count, post_login
from provider_of_people import CLIENT_SECRET, OF_THE_PROVIDER, PeopleProvider
from single_sign_on_kit import audited, begin, let_in, refused, sign_in, way_back

from shared.config import Settings
from shared.counters import Guarded
from shared.models import Identity
from webapp.events import EVENTS
from webapp.oidc import KEPT_SECONDS, QUIET_SECONDS, Provider

pytestmark = OF_THE_PROVIDER
UNKNOWN = "This login was used already, was begun in another browser, or took longer than ten minutes."


def test_it_works(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    assert let_in(sign_in(provider, client))
    assert count(app, Identity) == 1


def test_another_browser_cannot_come_back(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    back = way_back(provider, begin(client))
    assert refused(app, app.test_client().get(back), 400, UNKNOWN)
    other = app.test_client()
    begin(other)
    assert refused(app, other.get(back), 400, UNKNOWN)
    assert provider.calls["/oauth2/token"] == 0
    assert let_in(client.get(back), "/")


def test_nobody_comes_back_who_has_not_left(app: Flask, client: FlaskClient) -> None:
    for state in ("", "?state=", "?state=x&code=y", "?state=%ED%A0%80&code=y", "?code=y&error=access_denied"):
        before = EVENTS.counts["login_refused"]
        assert refused(app, client.get(f"/login/provider/callback{state}"), 400, UNKNOWN), state
        assert EVENTS.counts["login_refused"] == before + 1


def test_a_login_that_took_too_long(app: Flask, clock: Clock, client: FlaskClient, provider: PeopleProvider) -> None:
    back = way_back(provider, begin(client))
    clock.forward(minutes=10, seconds=1)
    assert refused(app, client.get(back), 400, UNKNOWN)


def test_a_login_comes_back_once(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    back = way_back(provider, begin(client))
    cookie = client.get_cookie("session")
    assert cookie is not None
    provider.alter = lambda claims: {**claims, "nonce": "another"}
    assert refused(app, client.get(back), 502, "is not meant for this router or login")
    assert refused(app, client.get(back), 400, UNKNOWN)
    # Not even with the cookie of before: the provider has given out what belongs to the code.
    client.set_cookie("session", cookie.value)
    provider.behave()
    assert refused(app, client.get(back), 400, "The provider takes this login as used already")


def test_two_tabs_both_come_back(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    first, second, third = (begin(client, f"/login/provider?next=/{page}") for page in ("keys", "usage", "audit"))
    provider.alter = lambda claims: {**claims, "aud": "another"}
    assert refused(app, client.get(way_back(provider, second)), 502, "is not meant for this router")
    provider.behave()
    assert refused(app, client.get(way_back(provider, first)), 400, UNKNOWN)  # more than two are not kept
    assert let_in(client.get(way_back(provider, third)), "/audit")


def test_a_long_address_to_come_back_to_fits_into_the_cookie(client: FlaskClient, provider: PeopleProvider) -> None:
    for length in (1000, 1000, 1999):
        url = begin(client, "/login/provider?next=/keys?q=" + "abc%25" * (length // 6))
    kept = client.get_cookie("session")
    assert kept is not None
    assert len(kept.value) < 3500
    assert let_in(client.get(way_back(provider, url)), "/")


def test_an_error_instead_of_a_code(app: Flask, client: FlaskClient) -> None:
    for query, status, words in (
        ("error=access_denied", 403, "let nobody in: you said no there, or you may not use this router."),
        ("error=temporarily_unavailable", 503, "cannot log you in at the moment."),
        ("error=%3Cb%3Ecall+0800%3C/b%3E&error_description=call+0800", 502, "refuses to log anybody in"),
        ("", 502, "refuses to log anybody in"),
    ):
        state = _state(client)
        answer = client.get(f"/login/provider/callback?state={state}&{query}")
        assert refused(app, answer, status, words), query
        assert "0800" not in answer.text
        assert state not in answer.text


def test_saying_no_at_the_provider(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    back = provider.answer(begin(client), action="deny").removeprefix("http://localhost")
    assert refused(app, client.get(back), 403, "you said no there")


@pytest.mark.parametrize("settings", [{"ROUTER_OIDC_CLIENT_SECRET": "another"}], indirect=True)
def test_a_wrong_client_secret(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    assert refused(app, sign_in(provider, client), 502, "does not accept this router. Its client id or secret")


def fail_often(app: Flask) -> None:
    """As often as it is free, from where the browsers of these tests are."""
    for _ in range(20):
        app.extensions["login_throttle"].attempt([Guarded("logins at the provider from 127.0.0.1", 20)])


def test_an_outage_ends_no_session_and_no_throttle_counts_it(
    app: Flask, settings: Settings, client: FlaskClient, provider: PeopleProvider
) -> None:
    inside = app.test_client()
    assert let_in(sign_in(provider, inside))
    provider.down = 503
    fail_often(app)
    for _ in range(2):
        answer = client.get(f"/login/provider/callback?code=x&state={_state(client)}")
        assert (answer.status_code, "does not answer at the moment" in answer.text) == (503, True)
    assert inside.get("/keys").status_code == 200
    assert post_login(app.test_client()).status_code == 303
    provider.behave()
    assert let_in(sign_in(provider, client))


def _state(client: FlaskClient) -> str:
    return begin(client).partition("&state=")[2].partition("&")[0]


def test_what_the_provider_publishes_is_kept_and_who_is_away_is_left_alone(
    app: Flask, settings: Settings, client: FlaskClient, provider: PeopleProvider
) -> None:
    now = [0.0]
    assert settings.sign_in is not None
    app.extensions["oidc"] = Provider(settings.sign_in, lambda: now[0])
    provider.down = 500
    for _ in range(3):
        assert refused(app, client.get("/login/provider?next=/keys"), 503, "does not answer at the moment")
    assert provider.calls["/.well-known/openid-configuration"] == 1
    provider.down, now[0] = 0, QUIET_SECONDS
    begin(client)
    now[0] += KEPT_SECONDS - 1
    begin(client)
    assert provider.calls["/.well-known/openid-configuration"] == 2
    provider.down, now[0] = 500, now[0] + 1
    begin(client)  # it goes by what it knows
    begin(client)
    assert provider.calls["/.well-known/openid-configuration"] == 3


NONSENSE: list[dict[str, object]] = [
    {"issuer": "https://another.example"}, {"issuer": None}, {"authorization_endpoint": None}, {"token_endpoint": "ftp://host/x"},
    {"token_endpoint": "http://["}, {"jwks_uri": 7},
]  # fmt: skip


def test_a_provider_that_publishes_nonsense(
    app: Flask, client: FlaskClient, settings: Settings, provider: PeopleProvider
) -> None:
    assert settings.sign_in is not None
    for metadata in NONSENSE:
        provider.metadata = metadata
        app.extensions["oidc"] = Provider(settings.sign_in)  # which has not asked yet
        answer = client.get("/login/provider")
        assert refused(app, answer, 502, "answers with something that cannot be used"), metadata


def test_nobody_is_there_at_all(app: Flask, client: FlaskClient, settings: Settings, provider: PeopleProvider) -> None:
    provider.metadata = {"token_endpoint": "http://localhost:1/"}
    back = way_back(provider, begin(client))
    assert refused(app, client.get(back), 503, "does not answer at the moment")


def test_guessing_is_slowed_down(app: Flask, client: FlaskClient, provider: PeopleProvider) -> None:
    fail_often(app)
    answer = client.get(f"/login/provider/callback?code=guessed&state={_state(client)}")
    assert refused(app, answer, 400, "takes this login as used already")
    asked = provider.calls["/oauth2/token"]
    answer = client.get(way_back(provider, begin(client)))
    assert refused(app, answer, 429, "Too many attempts. The next one is possible in 1 s.")
    assert provider.calls["/oauth2/token"] == asked
    # Who logs in by a password is not held up by it.
    assert post_login(app.test_client()).status_code == 303


def test_no_secret_is_left_behind(
    app: Flask, client: FlaskClient, settings: Settings, provider: PeopleProvider, caplog: pytest.LogCaptureFixture
) -> None:
    back = way_back(provider, begin(client))
    code = back.partition("code=")[2].partition("&")[0]
    provider.alter = lambda claims: {**claims, "aud": "another"}
    answer = client.get(back)
    assert refused(app, answer, 502, "is not meant for this router or login")
    assert "aud" in caplog.text
    for secret in (code, CLIENT_SECRET):
        assert secret not in answer.text
        assert secret not in caplog.text
        for path in settings.data_dir.iterdir():
            assert secret.encode() not in path.read_bytes()
    assert audited(app, "login.refuse") == []


@pytest.mark.parametrize(
    "settings",
    [{"ROUTER_OIDC_ISSUER": "", "ROUTER_OIDC_CLIENT_ID": "", "ROUTER_OIDC_CLIENT_SECRET": ""}],
    indirect=True,
)
def test_without_a_provider_there_is_nothing(app: Flask) -> None:
    for path in ("/login/provider", "/login/provider/callback?code=x&state=y", "/logout/provider"):
        assert app.test_client().get(path).status_code == 404, path
    assert "SSO" not in app.test_client().get("/login").text


def test_the_doctor_asks_it(app: Flask, provider: PeopleProvider, command: Command) -> None:
    def found(line: str, code: int = 0) -> list[dict[str, str]]:
        told = command.json(line, code=code)
        return [one for one in told["findings"] if one["check"] == "sign-in provider"]

    provider.metadata = {"issuer": "https://another.example"}
    message = "Nobody can log in through it: it calls itself otherwise than ROUTER_OIDC_ISSUER."
    assert found("doctor", 1) == [{"check": "sign-in provider", "state": "fault", "message": message}]
    app.extensions["oidc"] = Provider(app.extensions["settings"].sign_in)
    provider.behave()
    assert [one["state"] for one in found("doctor")] == ["ok"]
    assert found("doctor --offline") == []
