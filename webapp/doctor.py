"""What `flask --app wsgi doctor` looks at: whether all is there that a router needs, and answers.

Each check is a function that yields findings and changes nothing. One that fails is no reason not to make the next.
"""

import difflib
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import requests
from sqlalchemy import Connection, select, text

from shared import zones
from shared.config import SETTINGS, Bind, SettingError, Settings
from shared.counters import is_in_use
from shared.counters_probe import check_counters
from shared.database_probe import check_database, is_absent, shown_url
from shared.machines import database_now
from shared.models import REVISION, AuditEvent, Organization
from webapp.blame import blaming
from webapp.context import counters
from webapp.db import db
from webapp.oidc import Provider, ProviderFault
from webapp.provider_test import Outcome

State = Literal["ok", "warning", "fault"]

_LITTLE_BYTES, _LEAST_BYTES = 1_000_000_000, 100_000_000
_MOST_CLOCKS_DIFFER = timedelta(seconds=5)
# A provider tells whole seconds, of when it began to answer.
_MOST_PROVIDERS_DIFFER = timedelta(seconds=30)
_ANSWER_SECONDS = 3.0
_BEGIN = "Run `flask --app wsgi bootstrap`."
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, in a sentence. A fault keeps something from working; a warning wants to be looked at."""

    check: str
    state: State
    message: str


def look_at_settings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """They can be read, or there would be no app. What nobody reads is likely to be misspelt."""
    names = [row.name for row in SETTINGS]
    known = {name + tail for name in names for tail in ("", "_FILE")}
    found = False
    try:
        settings.refuse_together()
    except SettingError as error:
        found = True
        # Where each has a machine or a container of its own, the variable of the other means nothing here.
        yield Finding("settings", "warning", f"{error} Both programs on one machine would not start so.")
    for name in sorted(environ):
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.85) if name not in known else []
        if near:
            found = True
            yield Finding("settings", "warning", f"{name} is no setting, and nobody reads it. Is {near[0]} meant?")
    if not found:
        yield Finding("settings", "ok", "All settings can be read.")


def look_at_data_directory(settings: Settings) -> Iterator[Finding]:
    """Its owner and file system were judged when the settings were read; what changes by itself is looked at here."""
    home = settings.data_dir
    try:
        free, mode = shutil.disk_usage(home).free, stat.S_IMODE(home.stat().st_mode)
    except OSError as error:
        yield Finding("data directory", "fault", f"{home} cannot be looked at: {(error.strerror or '').lower()}.")
        return
    told = f"{home} has {free / 1e9:.1f} GB free."
    if free < _LEAST_BYTES:
        yield Finding("data directory", "fault", f"{told} Requests of keys with limits are refused on a full disk.")
    elif free < _LITTLE_BYTES:
        yield Finding("data directory", "warning", f"{told} docs/operations.md says what grows.")
    elif mode & (stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH):
        yield Finding("data directory", "warning", f"{home} is open to others (mode {mode:04o}): chmod 700 {home}")
    else:
        yield Finding("data directory", "ok", told)


def look_at_database(settings: Settings) -> Iterator[Finding]:
    """It answers, has the tables of this release, and somebody has begun with it."""
    try:
        with blaming(settings):
            check_database(settings)
            place = shown_url(settings.database_url)
            problem = (
                _no_tables(place) if is_absent(settings.database_url) else _problem_with(db.session.connection(), place)
            )
    except SettingError as error:
        yield Finding("database", "fault", str(error))
        return
    if problem is not None:
        yield problem
    else:
        yield Finding("database", "ok", f"{place} answers, and has the tables of this release.")


def _no_tables(place: str) -> Finding:
    return Finding("database", "fault", f"{place} has no tables yet. {_BEGIN}")


def _problem_with(connection: Connection, place: str) -> Finding | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return _no_tables(place)
    found = connection.scalar(text("SELECT version_num FROM alembic_version")) or ""
    if found < REVISION:
        return Finding("database", "fault", f"Its tables are of an older release ({found}, not {REVISION}). {_BEGIN}")
    if found > REVISION:
        return Finding("database", "warning", f"Its tables are of a newer release ({found}, not {REVISION}).")
    if connection.scalar(select(Organization.id).limit(1)) is None:
        return Finding("database", "fault", f"There is no organisation yet. {_BEGIN}")
    return None


def look_at_time_zones() -> Iterator[Finding]:
    """A later release may have left a name by which this one finds nothing. Of others nothing is said."""
    stored = db.session.execute(select(Organization.name, Organization.time_zone).order_by(Organization.id))
    for organization, zone in stored:
        if zone not in zones.names():
            yield Finding(
                "time zone",
                "warning",
                f"This release does not know {zone!r}, that of {organization}, whose days begin in UTC meanwhile. "
                "Upgrade, or set another.",
            )


def look_at_counters(settings: Settings) -> Iterator[Finding]:
    """They answer, and the proxy that keeps them is there. A file that is not there yet, or damaged, is made anew."""
    running, here = is_in_use(settings.data_dir), settings.limits_url.startswith("sqlite")
    if here and not running and not Path(settings.limits_url.removeprefix("sqlite:///")).exists():
        yield Finding("counters", "warning", "There are none: a proxy makes them when it starts, and none runs here.")
        return
    cure = ""
    try:
        with blaming(settings):
            check_counters(settings)
            counters().refuse_foreign(0)
            cure = " A proxy makes them anew when it starts, and none runs here." if here and not running else ""
            status = counters().status()
    except SettingError as error:
        yield Finding("counters", "warning" if cure else "fault", f"{error}{cure}")
        return
    if not running:
        yield Finding("counters", "warning", "They answer, and no proxy runs on this data directory to keep them.")
    elif not status.live:
        waits = f", and {len(status.missing)} workers have not joined" if status.missing else ""
        yield Finding("counters", "warning", f"They are being made anew{waits}. Keys with limits wait meanwhile.")
    else:
        yield Finding("counters", "ok", f"They answer, and are complete (generation {status.generation}).")


def look_at_clock(now: datetime, outcomes: Mapping[str, Outcome]) -> Iterator[Finding]:
    """Ours, beside the database's, beside what was written down last, and beside those of the providers."""
    wrong = []
    if db.engine.dialect.name != "sqlite":  # whose clock is ours
        differs = database_now(db.session.connection()) - now
        if abs(differs) > _MOST_CLOCKS_DIFFER:
            wrong.append(f"The database's clock differs by {abs(differs).total_seconds():.0f} s.")
    last = db.session.scalar(select(AuditEvent.at).order_by(AuditEvent.id.desc()).limit(1))
    if last is not None and last - now > _MOST_CLOCKS_DIFFER:
        wrong.append(f"It is {(last - now).total_seconds():.0f} s behind the last event of the audit log.")
    for slug, outcome in outcomes.items():
        if outcome.server_time is not None and abs(outcome.server_time - now) > _MOST_PROVIDERS_DIFFER:
            differs = abs(outcome.server_time - now)
            wrong.append(f"That of {slug} differs by {differs.total_seconds():.0f} s.")
    for sentence in wrong:
        yield Finding("clock", "warning", f"{sentence} Periods, expiry and sessions go by this machine's clock.")
    if not wrong:
        yield Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC, as far as others agree.")


def look_at_programs(settings: Settings) -> Iterator[Finding]:
    """Proxy and dashboard, where this machine's settings say that they listen."""
    for check, bind, path in (("proxy", settings.proxy_bind, "/readyz"), ("dashboard", settings.web_bind, "/healthz")):
        yield _answer_of(check, bind, path)


def _answer_of(check: str, bind: Bind, path: str) -> Finding:
    try:
        with requests.Session() as session:
            session.trust_env = False  # nobody's proxy knows the way to this machine's own address
            answer = session.get(f"{bind.url}{path}", timeout=_ANSWER_SECONDS, allow_redirects=False, stream=True)
            with answer:
                said = answer.raw.read1(_MOST_BYTES, decode_content=True).decode(errors="replace").strip()
    except (requests.RequestException, OSError):
        return Finding(check, "warning", f"Nothing answers at {bind.url}.")
    if answer.status_code != 200:
        return Finding(check, "fault", f"{bind.url}{path} answers with {answer.status_code}: {said}")
    return Finding(check, "ok", f"It answers at {bind.url}.")


def look_at_providers(outcomes: Mapping[str, Outcome]) -> Iterator[Finding]:
    """What the providers with a credential said."""
    if not outcomes:
        yield Finding("providers", "warning", "None has a credential. `providers set PROVIDER` stores one.")
    for slug, outcome in outcomes.items():
        yield Finding(f"provider {slug}", "ok" if outcome.ok else "fault", outcome.message)


def look_at_sign_in(provider: Provider | None) -> Iterator[Finding]:
    """The provider through which people log in, if there is one, and whether it is the one that the settings mean."""
    if provider is None:
        return
    try:
        provider.check()
    except ProviderFault as fault:
        yield Finding("sign-in provider", "fault", f"Nobody can log in through it: {fault}.")
    else:
        yield Finding("sign-in provider", "ok", "It answers, and calls itself as ROUTER_OIDC_ISSUER does.")
