"""The doctor finds what is broken, and `providers test` and `usage` tell what there is."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Command
from cryptography.fernet import Fernet
from dashboard_kit import Api, Clock, environment
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import text

from shared.config import Settings
from shared.models import UsageDaily
from webapp import create_app
from webapp.db import writing
from webapp.doctor import look_at_clock
from webapp.provider_test import Outcome

Findings = dict[str, tuple[str, str]]


def findings(command: Command, line: str = "doctor --offline", code: int = 0) -> Findings:
    told = command.json(line, code=code)
    assert told["ok"] == (code == 0)
    return {one["check"]: (one["state"], one["message"]) for one in told["findings"]}


@pytest.fixture
def elsewhere(settings: Settings, sandbox_url: str) -> dict[str, str]:
    """The same installation, with the sandbox in the place of a provider, and nothing on its ports."""
    nobody = {"ROUTER_WEB_BIND": "127.0.0.1:1", "ROUTER_PROXY_BIND": "127.0.0.1:2"}
    return environment(settings.data_dir) | nobody | {"ROUTER_ANTHROPIC_URL": sandbox_url}


@pytest.fixture
def on(elsewhere: dict[str, str], clock: Clock) -> Command:
    clock.now = datetime.now(UTC)  # which the other clocks of this machine tell as well
    return Command(create_app(Settings.from_env(elsewhere), clock=clock))


@pytest.mark.usefixtures("keeper")
def test_it_works(on: Command, live: LiveCounters) -> None:
    """All that a command can see is well; neither program runs."""
    found = findings(on)
    assert {check: state for check, (state, _) in found.items()} == {
        "settings": "ok", "data directory": "ok", "database": "ok", "counters": "ok",
        "proxy": "warning", "dashboard": "warning", "metrics": "ok", "addresses": "ok", "ledger": "ok", "clock": "ok",
    }  # fmt: skip
    assert found["proxy"][1] == "Nothing answers at http://127.0.0.1:2."
    assert "generation 1" in found["counters"][1]
    lines = on("doctor --offline").stdout.splitlines()
    assert [line[:7].strip() for line in lines] == ["ok"] * 4 + ["WARNING"] * 2 + ["ok"] * 4


@pytest.mark.usefixtures("keeper", "live")
def test_a_time_zone_that_is_not_in_force_is_told(on: Command, app: Flask) -> None:
    with app.app_context(), writing() as session:
        session.execute(text("UPDATE organizations SET time_zone = 'Mars/Olympus_Mons'"))
    state, message = findings(on)["time zone"]
    assert state == "warning"
    assert message == (
        "This release does not know 'Mars/Olympus_Mons', that of Default, whose days begin in UTC meanwhile. "
        "Upgrade, or set another."
    )


def test_providers_are_asked(on: Command) -> None:
    assert findings(on, "doctor")["providers"] == (
        "warning", "None has a credential. `providers set PROVIDER` stores one.",
    )  # fmt: skip
    on("providers set anthropic", given="no-sandbox-credential\n")
    told = on.json("providers test", code=1)["data"]
    assert [(one["provider"], one["ok"], one["status"]) for one in told] == [("anthropic", False, 401)]
    assert findings(on, "doctor", code=1)["provider anthropic"] == ("fault", told[0]["message"])
    assert "anthropic: Anthropic refuses the credential (401)" in on("providers test anthropic", code=1).stdout
    assert "There is no credential for OpenAI yet." in on("providers test openai", code=1).stdout


def test_the_sandboxs_credential_goes_nowhere(on: Command) -> None:
    on("providers set openai", given="sandbox-credential\n")
    assert "it was not asked" in on("providers test openai").stdout


def test_a_credential_that_no_key_opens(on: Command, elsewhere: dict[str, str], settings: Settings) -> None:
    on("providers set anthropic", given="sandbox-of-anthropic\n")
    (settings.data_dir / "encryption_key").write_text(Fernet.generate_key().decode())
    other = Command(create_app(Settings.from_env(elsewhere)))
    assert "put what ROUTER_ENCRYPTION_KEY was" in other("providers test", code=1).stdout


def test_counters_that_nobody_keeps(on: Command, live: LiveCounters) -> None:
    state, message = findings(on)["counters"]
    assert (state, "no proxy runs on this data directory" in message) == ("warning", True)


@pytest.mark.usefixtures("keeper")
def test_counters_that_do_not_answer(on: Command, settings: Settings) -> None:
    """A proxy runs, and its counters are not what they should be."""
    (settings.data_dir / "counters.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    state, message = findings(on, code=1)["counters"]
    assert (state, message.startswith("ROUTER_LIMITS_URL: ")) == ("fault", True)


def test_counters_that_a_proxy_would_make_anew(on: Command, settings: Settings) -> None:
    """None runs, and what stands there is a file, but no counters."""
    assert "There are none" in findings(on)["counters"][1]
    (settings.data_dir / "counters.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    state, message = findings(on)["counters"]
    assert (state, message.startswith("ROUTER_LIMITS_URL: the counters cannot be used (")) == ("warning", True)
    assert message.endswith("A proxy makes them anew when it starts, and none runs here.")


def test_another_programs_file_in_the_place_of_the_counters(on: Command, settings: Settings) -> None:
    """A proxy would refuse to start, so that this is no matter of one that does not run."""
    with closing(sqlite3.connect(settings.data_dir / "counters.db")) as other:
        other.execute("CREATE TABLE things (id)")
    state, message = findings(on, code=1)["counters"]
    assert (state, "another program's" in message) == ("fault", True)


def test_programs_that_cannot_run_beside_each_other(elsewhere: dict[str, str]) -> None:
    same = {**elsewhere, "ROUTER_WEB_BIND": "127.0.0.1:2"}
    state, message = findings(Command(create_app(Settings.from_env(same))), code=0)["settings"]
    assert state == "warning", "each may have a container of its own, whose settings know nothing of the other"
    assert message == (
        "ROUTER_WEB_BIND and ROUTER_PROXY_BIND name the same port. Give each its own. "
        "Both programs on one machine would not start so."
    )


def test_a_database_of_another_release(on: Command, app: Flask) -> None:
    for version, state, words in (("0000", "fault", "older release"), ("9999", "warning", "newer release")):
        with app.app_context(), writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        found = findings(on, code=int(state == "fault"))
        assert (found["database"][0], words in found["database"][1]) == (state, True)
        assert ("clock" in found) == (state == "warning")  # the rest stands in the database


def test_an_empty_database(tmp_path: Path) -> None:
    fresh = Command(create_app(Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "fresh")})))
    found = findings(fresh, code=1)
    place = f"sqlite:///{tmp_path / 'fresh' / 'router.db'}"
    assert found["database"] == ("fault", f"{place} has no tables yet. Run `flask --app wsgi bootstrap`.")
    assert found["counters"][0] == "warning"
    assert fresh.fault("keys list") == (
        f"DATABASE_URL: there is no organisation in {place} yet. Run `flask --app wsgi bootstrap` first.\n"
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("keys list", 2),
        ("usage", 2),
        ("ledger verify", 2),
        ("ledger import x", 2),
        ("credentials reseal", 2),
        ("doctor", 1),
    ],
)
def test_who_looks_into_a_directory_where_nothing_is_makes_no_database(tmp_path: Path, line: str, code: int) -> None:
    """Made are the secrets alone, which each program needs that is started."""
    fresh = Command(create_app(Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "fresh")})))
    done = fresh(f"{line} --offline" if line == "doctor" else line, code=code)
    assert str(tmp_path / "fresh" / "router.db") in done.output
    made = {path.name for path in (tmp_path / "fresh").iterdir()} - {"counters.db.lock"}
    assert made == {"encryption_key", "secret_key"}


def test_a_clock_that_was_set_back(on: Command, clock: Clock) -> None:
    on.json("keys create x")
    clock.forward(hours=-2)
    assert findings(on)["clock"] == (
        "warning",
        "It is 7200 s behind the last event of the audit log. Periods, expiry and sessions go by this machine's clock.",
    )


def test_a_clock_that_a_provider_contradicts(app: Flask) -> None:
    at = datetime.now(UTC)
    heard = {
        slug: Outcome(ok=True, message="", server_time=at - timedelta(seconds=seconds))
        for slug, seconds in (("openai", 29), ("anthropic", 3_600))
    }
    with app.app_context():
        (found,) = look_at_clock(at, heard | {"gemini": Outcome(ok=False, message="")})
    assert (found.state, found.message.partition(". ")[0]) == ("warning", "That of anthropic differs by 3600 s")


def test_a_misspelt_setting(on: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PUBLIC_ULR", "https://router.example.com")
    assert findings(on)["settings"] == (
        "warning", "ROUTER_PUBLIC_ULR is no setting, and nobody reads it. Is ROUTER_PUBLIC_URL meant?",
    )  # fmt: skip


def test_a_disk_without_room(on: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        free = 50_000_000

    monkeypatch.setattr("webapp.doctor.shutil.disk_usage", lambda _: Disk)
    assert findings(on, code=1)["data directory"][0] == "fault"
    Disk.free = 500_000_000
    assert findings(on)["data directory"][0] == "warning"


def test_usage(command: Command, api: Api, app: Flask, org_id: str) -> None:
    key_id = command.json("keys create x")["id"]
    with app.app_context(), writing() as session:
        sums: dict[str, Any] = {"requests": 3, "input_tokens": 10, "output_tokens": 2, "cost_nanos": 250_000_000}
        session.add(
            UsageDaily(key_id=key_id, org_id=org_id, day=date(2026, 11, 24), provider="openai", model="gpt-4o", **sums)
        )
    assert command.json("usage --group-by model") == api("GET", "/v1/usage?group_by=model").get_json()
    of_key = f"usage --key {key_id} --from 2026-11-24 --to 2026-11-24"
    path = f"/v1/keys/{key_id}/usage?from=2026-11-24&to=2026-11-24"
    assert command.json(of_key) == json.loads(command(f"{of_key} --format json").stdout) == api("GET", path).get_json()
    table = command(f"{of_key} --format csv").stdout
    assert table.splitlines() == api("GET", f"{path}&format=csv").text.splitlines()
    assert [line.split() for line in command(of_key).stdout.splitlines()] == [
        ["DAY", "REQUESTS", "INPUT", "TOKENS", "OUTPUT", "TOKENS", "COST", "USD"],
        ["2026-11-24", "3", "10", "2", "0.25"],
        ["total", "3", "10", "2", "0.25"],
    ]
