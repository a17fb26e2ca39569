"""The first start: schema, organisation, administrator, management token, credentials, a demo key.

Idempotent: what is there stays as it is, with one exception, the providers' credentials, which follow the environment.
A password or a token in the environment serves the first start only; changing it later changes nothing. The demo key is
made last, and keys are never deleted: while the organisation has had none, no first start has come to its end, and what
an earlier one made up has been shown to nobody. It is made up anew then.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import flask_migrate
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from sqlalchemy import select

from shared.config import SettingError, Settings
from shared.ids import new_id
from shared.keys import digest
from shared.models import SCOPES, AccountingState, KnownPlace, ManagementToken, Organization, ProxyKey, User
from webapp import passwords
from webapp.actions import audit
from webapp.actions.credentials import (
    forget_pretended,
    reseal_credentials,
    store_credentials,
    stored_providers,
)
from webapp.actions.keys import create_key
from webapp.actions.tokens import create_token, revoke_token
from webapp.actions.users import create_user, judge_user, reset_password
from webapp.context import Actor, Conflict, now
from webapp.db import db, writing
from webapp.large_indexes import build_large_indexes
from webapp.validation import Invalid
from webapp.views.providers import SANDBOX_FILE, SANDBOX_PREFIX

DEFAULT_ADMIN = "admin@localhost"
_DEMO_KEY = {
    "name": "demo",
    "rate_limit_rpm": 60,
    "spend_limit_usd": "5",
    "spend_reset": "monthly",
}


class SchemaError(Exception):
    """The database is not of a kind that this version can use."""


@dataclass(frozen=True, slots=True, repr=False)
class BootstrapReport:
    """What is in place. A secret is set only when it was made up just now: show it once, it cannot be had again."""

    org_id: str
    admin_email: str
    admin_created: bool
    admin_password: str | None
    management_token: str | None
    management_token_prefix: str | None
    demo_key: str | None
    demo_key_prefix: str | None
    providers: tuple[str, ...]  # with any credential
    real_providers: tuple[str, ...]  # with a credential that is not the sandbox's
    lost_credentials: int = 0  # that none of the keys of ROUTER_ENCRYPTION_KEY opens

    def __repr__(self) -> str:
        return f"BootstrapReport({self.admin_email!r}, providers={self.providers!r})"


def prepare(app: Flask) -> BootstrapReport:
    """The bootstrap itself, inside the app's context. Two processes at once do it one after the other.

    Raises CountersUnavailable before it writes a row, when what stands where the counters belong is not this router's.
    """
    settings: Settings = app.extensions["settings"]
    app.extensions["counters"].refuse_foreign(0)
    with _alone(settings.data_dir / "bootstrap.lock"):
        upgrade_schema(app)
        app.extensions["counters"].refuse_foreign(db.session.scalar(select(AccountingState.installation)) or 0)
        actor = first_actor() or _organization(settings)
        unfinished = db.session.scalar(select(ProxyKey.id).where(ProxyKey.org_id == actor.org_id).limit(1)) is None
        email, made, password = _administrator(actor, settings, unfinished=unfinished)
        token, token_prefix = _token(actor, settings, unfinished=unfinished)
        store_credentials(actor, settings.provider_credentials, switch_on=False)
        lost = reseal_credentials().lost
        (settings.data_dir / SANDBOX_FILE).unlink(missing_ok=True)  # of a launcher that was killed
        stored = stored_providers(actor.org_id, pretend_prefix=SANDBOX_PREFIX)
        if any(stored.values()):
            # With one real provider the sandbox does not run, and its credential must not go to the others.
            forget_pretended(actor, pretend_prefix=SANDBOX_PREFIX)
            stored = {slug: real for slug, real in stored.items() if real}
        demo, demo_prefix = _demo_key(actor, unfinished=unfinished)
        return BootstrapReport(
            org_id=actor.org_id,
            admin_email=email,
            admin_created=made,
            admin_password=password,
            management_token=token,
            management_token_prefix=token_prefix,
            demo_key=demo,
            demo_key_prefix=demo_prefix,
            providers=tuple(sorted(stored)),
            real_providers=tuple(sorted(slug for slug, real in stored.items() if real)),
            lost_credentials=lost,
        )


def upgrade_schema(app: Flask) -> None:
    """Bring the tables to this version. Raises SchemaError when they are of a newer one."""
    directory = app.extensions["migrate"].directory
    script = ScriptDirectory(str(directory))
    known = {revision.revision for revision in script.walk_revisions()}
    with db.engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    if not set(heads) <= known:
        raise SchemaError(
            "The database was made by a newer version of Enterprise Router. Install that version again, or restore a "
            "backup from before it."
        )
    if set(heads) != set(script.get_heads()):
        flask_migrate.upgrade(str(directory))
    else:
        build_large_indexes(db.engine)  # one may have been broken off


def first_actor() -> Actor | None:
    """The system itself in the first organisation; None when there is none yet."""
    org_id = db.session.scalar(select(Organization.id).order_by(Organization.created_at, Organization.id).limit(1))
    return None if org_id is None else Actor(org_id, "system", None)


def _organization(settings: Settings) -> Actor:
    """The first one. What would keep its administrator from being made is told before anything is written."""
    with _blaming():
        judge_user(settings.admin_email or DEFAULT_ADMIN, "admin", settings.admin_password)
    actor = Actor(new_id("org"), "system", None)
    with writing() as session:
        session.add(Organization(id=actor.org_id, name="Default", created_at=now()))
        audit(session, actor, "organization.create", actor.org_id, after={"name": "Default"})
    return actor


@contextmanager
def _blaming() -> Iterator[None]:
    """What is wrong with the administrator is wrong with the variables that say who it is."""
    try:
        yield
    except Invalid as error:
        told = " and ".join(f"ROUTER_ADMIN_{wrong.field.upper()} {wrong.message}" for wrong in error.errors)
        raise SettingError(f"{told}.") from None
    except Conflict as error:
        raise SettingError(f"ROUTER_ADMIN_EMAIL: {error.message}") from None


def _administrator(actor: Actor, settings: Settings, *, unfinished: bool) -> tuple[str, bool, str | None]:
    """The email of the first administrator, whether its password is of now, and that if it was made up."""
    query = select(User).where(User.org_id == actor.org_id, User.role == "admin").order_by(User.id).limit(1)
    there, password = db.session.scalar(query), settings.admin_password
    if there is None:
        with _blaming():
            user = create_user(actor, settings.admin_email or DEFAULT_ADMIN, "admin", password=password)
        return user.email, True, user.password
    if not unfinished or db.session.scalar(select(KnownPlace.place).where(KnownPlace.user_id == there.id).limit(1)):
        return there.email, False, None
    if password is not None:
        with _blaming():
            judge_user(there.email, "admin", password)
        if passwords.matches(there.password_hash, password):
            return there.email, True, None
    anew = reset_password(actor, there.id, password=password)
    return anew.email, True, anew.password


def _token(actor: Actor, settings: Settings, *, unfinished: bool) -> tuple[str | None, str | None]:
    """The first management token if it was made up now, and its prefix."""
    query = select(ManagementToken).where(ManagementToken.org_id == actor.org_id)
    query = query.order_by(ManagementToken.revoked_at.is_not(None), ManagementToken.id).limit(1)
    there, brought = db.session.scalar(query), settings.bootstrap_token
    if there is not None:
        as_brought = brought is not None and there.digest == digest(brought.encode())
        if not unfinished or as_brought or there.last_used_at is not None:
            return None, there.prefix
        revoke_token(actor, there.id)
    created = create_token(actor, "bootstrap", SCOPES, raw=brought)
    return (None if brought else created.secret), created.view.prefix


def _demo_key(actor: Actor, *, unfinished: bool) -> tuple[str | None, str | None]:
    """The demo key's secret if it was made now, and the prefix of the oldest key that still works."""
    if unfinished:
        created = create_key(actor, _DEMO_KEY)
        return created.secret, created.view.prefix
    query = select(ProxyKey).where(ProxyKey.org_id == actor.org_id, ProxyKey.revoked_at.is_(None)).order_by(ProxyKey.id)
    row = next((row for row in db.session.scalars(query.limit(50)) if row.status(now()) == "active"), None)
    return None, None if row is None else row.prefix


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    if not current_app:
        raise RuntimeError("the bootstrap needs an application context")
    with path.open("a") as file:
        path.chmod(0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
