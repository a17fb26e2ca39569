"""A first start that does not come to its end: the next one leaves nothing out, and shows what nobody has seen."""

from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from shared.config import SettingError, Settings
from shared.keys import MANAGEMENT_TAG, mint
from shared.models import AuditEvent, ManagementToken, Organization, ProxyKey, User
from webapp import create_app
from webapp.actions.login import LoggedIn, log_in
from webapp.bootstrap import bootstrap
from webapp.db import db
from webapp.validation import Invalid


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


@pytest.mark.parametrize("step", ["create_user", "create_token", "store_credentials", "forget_pretended", "create_key"])
def test_what_a_start_made_up_before_it_was_ended_is_made_up_anew(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """It was shown to nobody, so that nobody could log in, or send a request."""

    class Ended(Exception):
        pass

    def end(*_: object, **__: object) -> None:
        raise Ended

    settings = fresh(OPENAI_API_KEY="sk-real-123456")
    with monkeypatch.context() as patched:
        patched.setattr(f"webapp.first_start.{step}", end)
        with pytest.raises(Ended):
            bootstrap(settings)
    report = bootstrap(settings)
    assert report.admin_created
    assert report.admin_password is not None
    assert report.demo_key is not None
    app = create_app(settings)
    with app.app_context():
        assert isinstance(log_in(report.admin_email, report.admin_password, None), LoggedIn)
        for model in (Organization, User, ProxyKey):
            assert db.session.scalar(select(func.count()).select_from(model)) == 1
        usable = select(func.count()).where(ManagementToken.revoked_at.is_(None))
        assert db.session.scalar(usable) == 1
    headers = {"Authorization": f"Bearer {report.management_token}"}
    assert app.test_client().get("/v1/keys", headers=headers).status_code == 200
    again = bootstrap(settings)
    assert (again.admin_password, again.management_token, again.demo_key) == (None, None, None)


def test_what_the_environment_brings_holds_once_a_first_start_comes_to_its_end(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it brings it only then; and what it brought before is not made anew."""
    token = mint(MANAGEMENT_TAG).raw
    brought = {"ROUTER_ADMIN_PASSWORD": "a password of ours", "ROUTER_BOOTSTRAP_TOKEN": token}
    for environ in ({}, brought, brought):
        with monkeypatch.context() as patched:
            patched.setattr("webapp.first_start._DEMO_KEY", {})
            with pytest.raises(Invalid):
                bootstrap(fresh(**environ))
    report = bootstrap(fresh(**brought))
    assert (report.admin_password, report.management_token, report.admin_created) == (None, None, True)
    app = create_app(fresh())
    with app.app_context():
        assert isinstance(log_in(report.admin_email, "a password of ours", None), LoggedIn)
        assert (events("user.password_reset"), events("token.create"), events("token.revoke")) == (1, 2, 1)
    assert app.test_client().get("/v1/keys", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_whoever_has_logged_in_keeps_their_password(
    fresh: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("webapp.first_start._DEMO_KEY", {})
        with pytest.raises(Invalid):
            bootstrap(fresh(ROUTER_ADMIN_PASSWORD="a password of ours"))
    app = create_app(fresh())
    with app.app_context():
        assert isinstance(log_in("admin@localhost", "a password of ours", "192.0.2.1"), LoggedIn)
    report = bootstrap(fresh())
    assert (report.admin_created, report.admin_password) == (False, None)
    assert report.demo_key is not None


def test_keys_that_were_revoked_are_not_missed(fresh: Callable[..., Settings]) -> None:
    report = bootstrap(fresh())
    app = create_app(fresh())
    with app.app_context():
        key_id = db.session.scalars(select(ProxyKey.id)).one()
    app.test_client().delete(f"/v1/keys/{key_id}", headers={"Authorization": f"Bearer {report.management_token}"})
    again = bootstrap(fresh())
    assert (again.demo_key, again.demo_key_prefix) == (None, None)
