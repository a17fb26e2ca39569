import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from sqlalchemy import create_engine, func, select, text

from shared.config import Settings
from shared.keys import MANAGEMENT_TAG, PROXY_TAG, looks_like_ours, mint
from shared.models import AuditEvent, ManagementToken, Organization, PolicyOutbox, ProviderCredential, ProxyKey, User
from shared.sealing import Sealer
from webapp import create_app
from webapp.actions.login import LoggedIn, log_in
from webapp.bootstrap import SchemaError, bootstrap, set_credentials
from webapp.db import db
from webapp.first_start import prepare
from webapp.views.providers import SANDBOX_FILE


def test_it_works(fresh: Callable[..., Settings]) -> None:
    report = bootstrap(fresh())
    assert report.admin_email == "admin@localhost"
    assert report.admin_created
    assert report.admin_password is not None
    assert report.management_token is not None
    assert report.demo_key is not None
    assert report.demo_key_prefix is not None
    assert len(report.admin_password) >= 16
    assert looks_like_ours(report.management_token.encode(), MANAGEMENT_TAG)
    assert looks_like_ours(report.demo_key.encode(), PROXY_TAG)
    assert report.demo_key.startswith(report.demo_key_prefix)
    assert report.providers == ()
    for secret in (report.admin_password, report.management_token, report.demo_key):
        assert secret not in repr(report)
    app = create_app(fresh())
    with app.app_context():
        assert isinstance(log_in("admin@localhost", report.admin_password, None), LoggedIn)
    headers = {"Authorization": f"Bearer {report.management_token}"}
    assert [key["name"] for key in app.test_client().get("/v1/keys", headers=headers).get_json()["data"]] == ["demo"]


def test_the_second_time_finds_everything_in_place(fresh: Callable[..., Settings]) -> None:
    first = bootstrap(fresh(OPENAI_API_KEY="sk-real-123456"))
    again = bootstrap(fresh(OPENAI_API_KEY="sk-real-123456", ROUTER_ADMIN_PASSWORD="another one of ours"))
    assert again == replace(
        first, admin_created=False, admin_password=None, management_token=None, demo_key=None, providers=("openai",)
    )
    assert first.admin_password is not None
    app = create_app(fresh())
    with app.app_context():
        for model, number in ((User, 1), (ManagementToken, 1), (ProxyKey, 1), (ProviderCredential, 1)):
            assert db.session.scalar(select(func.count()).select_from(model)) == number
        assert isinstance(log_in("admin@localhost", first.admin_password, None), LoggedIn)


def test_what_the_environment_brings_is_not_told_again(fresh: Callable[..., Settings]) -> None:
    token = mint(MANAGEMENT_TAG)
    settings = fresh(
        ROUTER_ADMIN_EMAIL="Ops@Example.com",
        ROUTER_ADMIN_PASSWORD="a password of ours",
        ROUTER_BOOTSTRAP_TOKEN=token.raw,
    )
    report = bootstrap(settings)
    assert (report.admin_email, report.admin_password) == ("ops@example.com", None)
    assert (report.management_token, report.management_token_prefix) == (None, token.prefix)
    app = create_app(settings)
    with app.app_context():
        assert isinstance(log_in("ops@example.com", "a password of ours", None), LoggedIn)
    assert app.test_client().get("/v1/keys", headers={"Authorization": f"Bearer {token.raw}"}).status_code == 200


def policy_version() -> int:
    """Of what the keys of the one organisation share."""
    return db.session.scalars(select(Organization.policy_version)).one()


def test_credentials_follow_the_environment(fresh: Callable[..., Settings]) -> None:
    bootstrap(fresh(OPENAI_API_KEY="sk-real-123456", ROUTER_ENCRYPTION_KEY=(key := Fernet.generate_key().decode())))
    with create_app(fresh()).app_context():
        first = policy_version()
    report = bootstrap(fresh(OPENAI_API_KEY="sk-real-654321", ROUTER_ENCRYPTION_KEY=key))
    assert report.real_providers == ("openai",)
    bootstrap(fresh(OPENAI_API_KEY="sk-real-654321", ROUTER_ENCRYPTION_KEY=key))
    bootstrap(fresh(ROUTER_ENCRYPTION_KEY=key))
    with create_app(fresh()).app_context():
        assert policy_version() == first + 1
        assert set(db.session.scalars(select(PolicyOutbox.subject))) == {report.org_id}
        row = db.session.scalars(select(ProviderCredential)).one()
        assert (Sealer([key]).unseal(row.sealed), row.last4) == ("sk-real-654321", "4321")
        events = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "credential.set")).all()
        assert len(events) == 2
        assert "654321" not in str([(event.before, event.after) for event in events])
    # The key that sealed it is lost: the environment's credential takes its place, sealed anew.
    other = Fernet.generate_key().decode()
    bootstrap(fresh(OPENAI_API_KEY="sk-real-654321", ROUTER_ENCRYPTION_KEY=other))
    with create_app(fresh()).app_context():
        row = db.session.scalars(select(ProviderCredential)).one()
        assert Sealer([other]).unseal(row.sealed) == "sk-real-654321"


def test_the_sandbox_is_no_real_provider(fresh: Callable[..., Settings]) -> None:
    bootstrap(fresh())
    assert set_credentials(fresh(), {"openai": "sandbox-1", "gemini": "sandbox-1"}) == ("gemini", "openai")
    assert set_credentials(fresh(), {"openai": "sandbox-1"}) == ()
    report = bootstrap(fresh(GEMINI_API_KEY="real-123456"))
    assert (report.providers, report.real_providers) == (("gemini",), ("gemini",))


def test_files_are_for_the_owner_alone(fresh: Callable[..., Settings], tmp_path: Path) -> None:
    bootstrap(fresh(OPENAI_API_KEY="sk-real-123456"))
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o700
    for path in (tmp_path / "fresh").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        if path.suffix.startswith(".db"):
            assert b"sk-real-123456" not in path.read_bytes()


def test_two_at_once_make_one_of_each(fresh: Callable[..., Settings]) -> None:
    # CPython 3.11 fails where two threads compile at once, as each app does for its addresses: so these are made before.
    settings = fresh()
    reports, apps = [], [create_app(settings) for _ in range(2)]

    def begin(app: Flask) -> None:
        with app.app_context():
            reports.append(prepare(app))
            db.session.remove()
            db.engine.dispose()

    threads = [threading.Thread(target=begin, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for app in apps:
        app.extensions["counters"].close()
    assert sorted(report.admin_created for report in reports) == [False, True]
    assert sum(report.demo_key is not None for report in reports) == 1


def test_a_newer_database_is_refused(fresh: Callable[..., Settings]) -> None:
    settings = fresh()
    bootstrap(settings)
    engine = create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="newer version"):
        bootstrap(settings)
    engine.dispose()


def test_the_command_of_a_shell(tmp_path: Path) -> None:
    environ = {"ROUTER_DATA_DIR": str(tmp_path / "cli"), "PATH": ""}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "bootstrap"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for words in ("Administrator: admin@localhost", "sk-mgmt-", "sk-proxy-", "Provider credentials: none"):
        assert words in done.stdout


@pytest.fixture
def flask(fresh: Callable[..., Settings]) -> Callable[..., str]:
    runner = create_app(fresh()).test_cli_runner()

    def flask(*words: str, code: int = 0) -> str:
        done = runner.invoke(args=words)
        assert done.exit_code == code, done.output
        return done.output

    return flask


def test_commands(flask: Callable[..., str], fresh: Callable[..., Settings]) -> None:
    assert "Run `flask --app wsgi bootstrap` first" in flask("tokens", "create", "x", code=2)
    assert "Password, shown this once" in flask("bootstrap")
    assert "shown this once" not in flask("bootstrap")
    flask("db", "upgrade")
    token = flask("tokens", "create", "ci", "--scope", "keys:read").split()[-1]
    client = create_app(fresh()).test_client()
    assert client.get("/v1/keys", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert '"scopes": ["keys:read", "keys:write", "usage:read"]' in flask("tokens", "create", "ci", "--json")
    assert "is not a scope" in flask("tokens", "create", "ci", "--scope", "all", code=2)
    assert "new@example.com (viewer), password: " in flask("users", "create", "New@example.com", "--role", "viewer")
    assert "is a member already" in flask("users", "create", "new@example.com", code=2)
    assert "not an email" in flask("users", "create", "new", code=2)


def test_with_a_real_credential_the_sandboxs_is_forgotten(fresh: Callable[..., Settings]) -> None:
    """Else requests for the other providers would carry it to the real ones."""
    bootstrap(fresh())
    (fresh().data_dir / SANDBOX_FILE).write_text("openai")  # as a launcher leaves it that was killed
    set_credentials(fresh(), dict.fromkeys(("openai", "anthropic", "gemini"), "sandbox-credential"))
    assert bootstrap(fresh()).providers == ("anthropic", "gemini", "openai")
    report = bootstrap(fresh(ANTHROPIC_API_KEY="sk-ant-real"))
    assert (report.providers, report.real_providers) == (("anthropic",), ("anthropic",))
    assert not (fresh().data_dir / SANDBOX_FILE).exists()
