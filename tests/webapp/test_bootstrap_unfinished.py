"""A first start that does not come to its end: the next one leaves nothing out, and takes nothing back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from shared.config import SettingError, Settings
from shared.keys import MANAGEMENT_TAG, mint
from shared.models import AuditEvent, ManagementToken, Organization, ProxyKey, User
from webapp import create_app
from webapp.actions.keys import CreatedKey, create_key
from webapp.actions.login import LoggedIn, log_in
from webapp.bootstrap import bootstrap
from webapp.db import db


def events(action: str) -> int:
    return db.session.scalars(select(func.count()).where(AuditEvent.action == action)).one()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ROUTER_ADMIN_PASSWORD": "password"}, "ROUTER_ADMIN_PASSWORD must have at least 12 characters"),
        (
            {"ROUTER_ADMIN_EMAIL": "operations@b.example", "ROUTER_ADMIN_PASSWORD": "operations12"},
            "ROUTER_ADMIN_PASSWORD ",
        ),
    ],
)
def test_what_cannot_be_an_administrator_leaves_nothing(
    fresh: Callable[..., Settings], wrong: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        bootstrap(fresh(**wrong))
    with create_app(fresh()).app_context():
        for model in (Organization, User, ManagementToken, ProxyKey, AuditEvent):
            assert db.session.scalar(select(func.count()).select_from(model)) == 0
    report = bootstrap(fresh())
    assert None not in (report.admin_password, report.management_token, report.demo_key)


class Ended(Exception):
    """Whatever ends a start."""


def end(*_: object, **__: object) -> None:
    raise Ended


@pytest.mark.parametrize("step", ["create_user", "create_token", "store_credentials", "forget_pretended", "create_key"])
def test_what_a_start_did_not_come_to_is_made_by_the_next(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    settings = fresh(OPENAI_API_KEY="sk-real-123456", ROUTER_ADMIN_PASSWORD="a password of ours")
    with monkeypatch.context() as patched:
        patched.setattr(f"webapp.first_start.{step}", end)
        with pytest.raises(Ended):
            bootstrap(settings)
    report = bootstrap(settings)
    assert report.demo_key is not None
    with create_app(settings).app_context():
        assert isinstance(log_in(report.admin_email, "a password of ours", None), LoggedIn)
        for model in (Organization, User, ProxyKey, ManagementToken):
            assert db.session.scalar(select(func.count()).select_from(model)) == 1
    again = bootstrap(settings)
    assert (again.admin_password, again.management_token, again.demo_key) == (None, None, None)


def test_no_start_resets_a_password_or_revokes_a_token(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment brings, and though there is no key."""
    token = mint(MANAGEMENT_TAG).raw
    brought = {"ROUTER_ADMIN_PASSWORD": "a password of ours", "ROUTER_BOOTSTRAP_TOKEN": token}
    with monkeypatch.context() as patched:
        patched.setattr("webapp.first_start.create_key", end)
        for environ in (brought, {**brought, "ROUTER_ADMIN_PASSWORD": "another one of ours"}, {}):
            with pytest.raises(Ended):
                bootstrap(fresh(**environ))
    report = bootstrap(fresh())
    assert (report.admin_password, report.management_token, report.admin_created) == (None, None, False)
    app = create_app(fresh())
    with app.app_context():
        assert isinstance(log_in(report.admin_email, "a password of ours", None), LoggedIn)
        assert (events("user.password_reset"), events("token.create"), events("token.revoke")) == (0, 1, 0)
    assert app.test_client().get("/v1/keys", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_where_somebody_did_something_no_demo_key_is_missed(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = mint(MANAGEMENT_TAG).raw
    with monkeypatch.context() as patched:
        patched.setattr("webapp.first_start.create_key", end)
        with pytest.raises(Ended):
            bootstrap(fresh(ROUTER_BOOTSTRAP_TOKEN=token))
    headers = {"Authorization": f"Bearer {token}"}
    client = create_app(fresh()).test_client()
    assert client.patch("/v1/organization", json={"name": "Ours"}, headers=headers).status_code == 200
    report = bootstrap(fresh())
    assert (report.demo_key, report.demo_key_prefix) == (None, None)


def test_rules_that_refuse_the_demo_key_keep_nothing_from_starting(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("webapp.first_start._DEMO_KEY", {})
        report = bootstrap(fresh())
    assert report.management_token is not None
    assert (report.demo_key, report.demo_key_prefix) == (None, None)


def test_two_machines_at_their_first_start_undo_nothing_of_each_other(
    fresh: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes to its end while this one is about to make the demo key."""
    one = fresh()
    other = fresh(
        ROUTER_DATA_DIR=str(tmp_path / "other"),
        DATABASE_URL=one.database_url,
        ROUTER_ENCRYPTION_KEY=(one.data_dir / "encryption_key").read_text(),
    )
    reports = []

    def late(*args: Any, **more: Any) -> CreatedKey:
        with monkeypatch.context() as patched:
            patched.setattr("webapp.first_start.create_key", create_key)
            reports.append(bootstrap(other))
        return create_key(*args, **more)

    monkeypatch.setattr("webapp.first_start.create_key", late)
    report = bootstrap(one)
    assert report.demo_key is None
    assert report.demo_key_prefix is not None
    assert reports[0].demo_key is not None
    assert reports[0].demo_key.startswith(report.demo_key_prefix)
    headers = {"Authorization": f"Bearer {report.management_token}"}
    with create_app(one).app_context():
        assert isinstance(log_in(report.admin_email, report.admin_password or "", None), LoggedIn)
    answer = create_app(one).test_client().get("/v1/keys", headers=headers)
    assert [key["prefix"] for key in answer.get_json()["data"]] == [report.demo_key_prefix]


def test_keys_that_were_revoked_are_not_missed(fresh: Callable[..., Settings]) -> None:
    report = bootstrap(fresh())
    app = create_app(fresh())
    with app.app_context():
        key_id = db.session.scalars(select(ProxyKey.id)).one()
    app.test_client().delete(f"/v1/keys/{key_id}", headers={"Authorization": f"Bearer {report.management_token}"})
    again = bootstrap(fresh())
    assert (again.demo_key, again.demo_key_prefix) == (None, None)
