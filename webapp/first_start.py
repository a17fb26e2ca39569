"""The first start: schema, organisation, administrator, management token, credentials, a demo key.

Idempotent: what is there stays as it is, with one exception, the providers' credentials, which follow the environment.
A password or a token in the environment serves the first start only; changing it later changes nothing. The demo key is
made last, and keys are never deleted: while the organisation has had none, and nobody has done anything there, no first
start has come to its end.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import flask_migrate
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from sqlalchemy import select

from shared.config import SettingError, Settings
from shared.ids import new_id
from shared.models import SCOPES, AccountingState, AuditEvent, ManagementToken, Organization, ProxyKey, User
from webapp.actions import audit
from webapp.actions.credentials import (
    forget_pretended,
    reseal_credentials,
    store_credentials,
    stored_providers,
)
from webapp.actions.keys import create_key
from webapp.actions.tokens import create_token
from webapp.actions.users import create_user, judge_user
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
_DEMO_ONCE = "demo-key-of-the-first-start"


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
        email, made, password = _administrator(actor, settings)
        token, token_prefix = _token(actor, settings)
        store_credentials(actor, settings.provider_credentials, switch_on=False)
        lost = reseal_credentials().lost
        (settings.data_dir / SANDBOX_FILE).unlink(missing_ok=True)  # of a launcher that was killed
        stored = stored_providers(actor.org_id, pretend_prefix=SANDBOX_PREFIX)
        if any(stored.values()):
            # With one real provider the sandbox does not run, and its credential must not go to the others.
            forget_pretended(actor, pretend_prefix=SANDBOX_PREFIX)
            stored = {slug: real for slug, real in stored.items() if real}
        demo, demo_prefix = _demo_key(actor)
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


def _administrator(actor: Actor, settings: Settings) -> tuple[str, bool, str | None]:
    """The email of the first administrator, whether it was made now, and the password if that was made up."""
    there = db.session.scalar(
        select(User.email).where(User.org_id == actor.org_id, User.role == "admin").order_by(User.id).limit(1)
    )
    if there is not None:
        return there, False, None
    with _blaming():
        user = create_user(actor, settings.admin_email or DEFAULT_ADMIN, "admin", password=settings.admin_password)
    return user.email, True, user.password


def _token(actor: Actor, settings: Settings) -> tuple[str | None, str | None]:
    """The first management token if it was made up now, and its prefix."""
    query = select(ManagementToken.prefix).where(ManagementToken.org_id == actor.org_id)
    there = db.session.scalar(query.order_by(ManagementToken.id).limit(1))
    if there is not None:
        return None, there
    created = create_token(actor, "bootstrap", SCOPES, raw=settings.bootstrap_token)
    return (None if settings.bootstrap_token else created.secret), created.view.prefix


def _demo_key(actor: Actor) -> tuple[str | None, str | None]:
    """The demo key's secret if it was made now, and the prefix of the oldest key that still works."""
    if _is_unfinished(actor.org_id):
        # Rules of the organisation may refuse it, and another machine may make it at the same moment.
        with suppress(Invalid, Conflict):
            created = create_key(actor, _DEMO_KEY, idempotency_key=_DEMO_ONCE)
            return created.secret, created.view.prefix
    query = select(ProxyKey).where(ProxyKey.org_id == actor.org_id, ProxyKey.revoked_at.is_(None)).order_by(ProxyKey.id)
    row = next((row for row in db.session.scalars(query.limit(50)) if row.status(now()) == "active"), None)
    return None, None if row is None else row.prefix


def _is_unfinished(org_id: str) -> bool:
    """Whether no first start of the organisation has come to its end."""
    if db.session.scalar(select(ProxyKey.id).where(ProxyKey.org_id == org_id).limit(1)) is not None:
        return False
    somebody = select(AuditEvent.id).where(AuditEvent.org_id == org_id, AuditEvent.actor != "system").limit(1)
    return db.session.scalar(somebody) is None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    if not current_app:
        raise RuntimeError("the bootstrap needs an application context")
    with path.open("a") as file:
        path.chmod(0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
