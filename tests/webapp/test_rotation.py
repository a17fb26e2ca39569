"""Keys of the router itself that change: ROUTER_ENCRYPTION_KEY (FINDINGS M16) and SECRET_KEY (D03)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import hidden, post_login
from sqlalchemy import select

from shared.config import SettingError, Settings
from shared.models import AuditEvent, ProviderCredential
from shared.sealing import Sealer, UnsealError
from webapp import create_app
from webapp.banner import welcome
from webapp.bootstrap import bootstrap
from webapp.cli.setup import lines_of
from webapp.db import db

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRET = "sk-real-of-the-provider"


@pytest.fixture
def with_key(tmp_path: Path) -> Callable[..., Settings]:
    """`with_key(key, ...)`: the settings of one installation under that ROUTER_ENCRYPTION_KEY."""

    def with_key(key: str, **environ: str) -> Settings:
        return Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "data"), "ROUTER_ENCRYPTION_KEY": key, **environ})

    return with_key


def sealed(settings: Settings) -> bytes:
    with create_app(settings).app_context():
        row = db.session.scalars(select(ProviderCredential)).one()
        db.engine.dispose()
        return row.sealed


def test_it_works(with_key: Callable[..., Settings]) -> None:
    """old, then new,old, then new: the credential is still there."""
    bootstrap(with_key(OLD, OPENAI_API_KEY=SECRET))
    report = bootstrap(with_key(f"{NEW},{OLD}"))
    assert (report.real_providers, report.lost_credentials) == (("openai",), 0)
    assert Sealer([NEW]).unseal(sealed(with_key(NEW))) == SECRET
    with pytest.raises(UnsealError):
        Sealer([OLD]).unseal(sealed(with_key(NEW)))
    before = sealed(with_key(NEW))
    assert bootstrap(with_key(NEW)).lost_credentials == 0
    assert sealed(with_key(NEW)) == before  # what is current stays as it is
    with create_app(with_key(NEW)).app_context():
        events = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "credential.reseal")).all()
        assert [event.after for event in events] == [{"provider": "openai", "last4": SECRET[-4:]}]
        db.engine.dispose()


def test_by_command(with_key: Callable[..., Settings]) -> None:
    bootstrap(with_key(OLD, OPENAI_API_KEY=SECRET, GEMINI_API_KEY=f"{SECRET}-2"))
    runner = create_app(with_key(f"{NEW},{OLD}")).test_cli_runner()
    assert "2 credentials are sealed" in runner.invoke(args=["credentials", "reseal"]).output
    assert "0 credentials are sealed" in runner.invoke(args=["credentials", "reseal"]).output


def test_a_lost_key_is_told(with_key: Callable[..., Settings]) -> None:
    bootstrap(with_key(OLD, OPENAI_API_KEY=SECRET))
    before = sealed(with_key(OLD))
    settings = with_key(OTHER)
    report = bootstrap(settings)
    assert report.lost_credentials == 1
    for told in ("\n".join(lines_of(report)), " ".join(welcome(settings, report, None).split())):
        assert "A provider credential cannot be opened" in told
        assert "ROUTER_ENCRYPTION_KEY" in told
    assert sealed(with_key(OTHER)) == before
    done = create_app(settings).test_cli_runner().invoke(args=["credentials", "reseal"])
    assert done.exit_code == 1
    assert "cannot be opened" in done.output
    assert bootstrap(with_key(f"{OTHER},{OLD}")).lost_credentials == 0
    assert Sealer([OTHER]).unseal(sealed(settings)) == SECRET


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def test_sessions_outlive_another_secret_key(app: Flask, settings: Settings) -> None:
    client = app.test_client()
    post_login(client)
    page = client.get("/keys")
    rotated = replace(settings, secret_key="the next one of this router", secret_key_fallbacks=(settings.secret_key,))
    after = create_app(rotated, clock=app.extensions["clock"]).test_client()
    after.set_cookie("session", cookie_of(client))
    assert after.get("/keys").status_code == 200
    # A form that was open meanwhile can be sent, too.
    assert after.post("/theme", data={"theme": "dark", "csrf_token": hidden(page, "csrf_token")}).status_code == 303
    forgotten = create_app(replace(rotated, secret_key_fallbacks=()), clock=app.extensions["clock"]).test_client()
    forgotten.set_cookie("session", cookie_of(client))
    assert forgotten.get("/keys").status_code == 303


def test_what_is_signed_now_is_signed_with_the_present_key(app: Flask, settings: Settings) -> None:
    rotated = replace(settings, secret_key="the next one of this router", secret_key_fallbacks=(settings.secret_key,))
    client = create_app(rotated, clock=app.extensions["clock"]).test_client()
    post_login(client)
    only = create_app(replace(rotated, secret_key_fallbacks=()), clock=app.extensions["clock"]).test_client()
    token = hidden(client.get("/keys"), "csrf_token")
    only.set_cookie("session", cookie_of(client))
    assert only.post("/theme", data={"theme": "dark", "csrf_token": token}).status_code == 303


@pytest.mark.parametrize("text", ["short", "a" * 20, "one that is long enough,short", ",", "one that is long enough,"])
def test_former_keys_are_as_good_as_the_present_one(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError, match="SECRET_KEY_FALLBACKS"):
        Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "data"), "SECRET_KEY_FALLBACKS": text})
