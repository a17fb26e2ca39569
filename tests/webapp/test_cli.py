"""Commands do what pages and API do, and tell it as they do."""

import getpass
import re
from pathlib import Path

import pytest
from cli_kit import Command
from dashboard_kit import ADMIN, FULL, Api, Clock
from flask import Flask
from flask.testing import FlaskClient
from live_counters import LiveCounters
from sqlalchemy import select

from shared import keys
from shared.keys import PROXY_TAG, looks_like_ours
from shared.models import AuditEvent
from webapp.db import db
from webapp.queries.credentials import credential_of
from webapp.schemas.keys import EDITABLE
from webapp.views.providers import SANDBOX_FILE

SECRET = "sk-ant-api03-of-a-provider-4711"


def test_it_works(command: Command, api: Api, clock: Clock) -> None:
    secret = command("keys create", "A key").stdout.strip()
    clock.forward(seconds=1)
    assert looks_like_ours(secret.encode(), PROXY_TAG)
    created = command.json("keys create other --spend-limit-usd 5 --spend-reset weekly")
    assert looks_like_ours(created.pop("key").encode(), PROXY_TAG)
    assert command.json(f"keys show {created['id']}") == created == api("GET", f"/v1/keys/{created['id']}").get_json()
    listed = command.json("keys list --limit 1 --total")
    assert listed == api("GET", "/v1/keys?limit=1&total=true").get_json()
    assert listed["has_more"]
    following = command("keys list --limit 2 --cursor", listed["next_cursor"])
    assert [line.split()[2:4] for line in following.stdout.splitlines()[1:]] == [
        ["other", created["prefix"]],
        ["A", "key"],
    ]
    shown = [line.split() for line in command(f"keys show {created['id']}").stdout.splitlines()]
    assert ["spend.lifetime_usd", "0.00"] in shown


def test_each_field_is_an_option(command: Command) -> None:
    """One of lists is repeated, one has commas; what is not set is as in JSON."""
    assert set(FULL) <= set(EDITABLE)
    words: list[str] = []
    for name, value in FULL.items():
        flag = f"--{name.replace('_', '-')}"
        if name == "allowed_models" and isinstance(value, list):
            words += [word for entry in value for word in (flag, entry)]
        elif name != "name":
            words += [flag, ", ".join(value) if isinstance(value, list) else str(value)]
    made = command.json("keys create", str(FULL["name"]), *words, "--paused")
    assert {name: made[name] for name in FULL} == {
        **FULL, "spend_limit_usd": "12.50", "expires_at": "2027-01-01T00:00:00Z",
    }  # fmt: skip
    assert made["paused"]


def test_an_edit_changes_what_is_said(command: Command) -> None:
    key_id = command.json("keys create x --spend-limit-usd 5 --rate-limit-rpm 60 --allowed-models gpt-4o")["id"]
    edited = command.json(f"keys edit {key_id} --unset rate_limit_rpm --allowed-models a*,b* --name y")
    assert (edited["name"], edited["rate_limit_rpm"], edited["allowed_models"]) == ("y", None, ["a*", "b*"])
    assert edited["spend_limit_usd"] == "5.00"
    assert command.json(f"keys edit {key_id} --paused")["status"] == "paused"
    assert command.json(f"keys resume {key_id}")["status"] == "active"
    assert command.json(f"keys pause {key_id}")["status"] == "paused"
    assert "Say what to change" in command.fault(f"keys edit {key_id}")
    both = command.fault(f"keys edit {key_id} --unset spend_limit_usd --spend-limit-usd 5")
    assert "--unset spend_limit_usd and --spend-limit-usd contradict" in both
    assert "'name' is not one of" in command.fault(f"keys edit {key_id} --unset name")


def test_rotated_and_revoked(command: Command, clock: Clock) -> None:
    key_id = command.json("keys create x")["id"]
    done = command(f"keys rotate {key_id} --grace-seconds 3600")
    assert looks_like_ours(done.stdout.strip().encode(), PROXY_TAG)
    clock.forward(hours=1)
    assert f"until {clock.now:%Y-%m-%d %H:%M:%S} UTC" in done.stderr
    assert len(command.json(f"keys rotate {key_id} --grace-seconds 0")["secrets"]) == 1
    asked = command(f"keys revoke {key_id}", code=1, given="n\n")
    assert "Revoke x (sk-proxy-" in asked.stderr
    assert command.json(f"keys show {key_id}")["status"] == "active"
    assert command.json(f"keys revoke {key_id}", given="y\n")["status"] == "revoked"
    assert command.json(f"keys revoke {key_id} --yes")["status"] == "revoked"
    assert "revoked" in command.fault(f"keys edit {key_id} --name z")


def test_the_same_creation_twice(command: Command) -> None:
    made = command.json("keys create x --idempotency-key once")
    again = command.json("keys create x --idempotency-key once")
    assert (again["id"], "key" in again) == (made["id"], False)
    assert "keys rotate" in again["notice"]
    assert command("keys create x --idempotency-key once").stdout == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("keys create x --rate-limit-rpm 0", "--rate-limit-rpm must be at least 1"),
        ("keys create x --rate-limit-rpm many", "--rate-limit-rpm must be a whole number"),
        ("keys create x --allowed-ips 10.0.0.1/8", "--allowed-ips '10.0.0.1/8' has host bits set"),
        ("keys create x --idempotency-key=", "--idempotency-key must have"),
        ("keys create sk-proxy-" + "a" * 64, "NAME looks like a secret"),
        ("keys list --status odd,active", "--status must be one of active"),
        ("keys list --limit 0", "--limit must be a whole number from 1"),
        ("keys show key_none", "No key has this id"),
        ("keys check key_none", "No key has this id"),
        ("keys create", "Missing argument 'NAME'"),
        ("keys create x --of-the-future 1", "No such option"),
        ("usage --from 2026-02-30", "--from is not a day of the calendar"),
        ("usage --to 2026-01-01 --from 2026-02-01", "--to must not be before from"),
        ("usage --key key_none", "No key has this id"),
        ("users create nobody", "EMAIL is not an email address"),
        ("users create a@example.com --role boss", "--role must be one of viewer, member, admin"),
        ("users role nobody@example.com viewer", "There is no member with this email"),
        (f"users role {ADMIN} boss", "ROLE must be one of viewer, member, admin"),
        (f"users role {ADMIN} viewer", "The last administrator"),
        ("tokens create x --scope all", "--scope 'all' is not a scope"),
        ("tokens create x --expires-at 2020-01-01T00:00:00Z", "--expires-at must be in the future"),
        ("tokens revoke tok_none", "No token has this id"),
        ("providers add A_name --base-url https://example.com/v1", "NAME must be"),
        ("usage --format csv --json", "--json and --format csv contradict each other."),
        ("usage --format text --json", "--json and --format text contradict each other."),
        ("providers set nobody", "There is no such provider. There are openai"),
        ("providers test nobody", "There is no such provider"),
        ("providers test", "No provider has a credential"),
        ("prices set openai gpt-4o input_tokens=x", "rates.input_tokens must be dollars"),
        ("prices set openai gpt-4o input_tokens=1 input_tokens=2", "rates.input_tokens occurs twice"),
        ("prices unset openai gpt-4o", "There is no price of one's own"),
    ],
)  # fmt: skip
def test_a_fault_names_what_was_said(command: Command, line: str, words: str) -> None:
    told = command.fault(line)
    assert words in told
    assert "a" * 64 not in told


def test_all_faults_are_told_at_once(command: Command) -> None:
    told = command.fault("keys create x --rate-limit-rpm 0 --spend-limit-usd -1 --allowed-providers nobody")
    assert [line.split()[0] for line in told.splitlines()] == [
        "--allowed-providers",
        "--rate-limit-rpm",
        "--spend-limit-usd",
    ]


def test_users(command: Command) -> None:
    made = command.json("users create New@example.com --role viewer")
    assert made["password"]
    assert (made["email"], made["role"], made["active"]) == ("new@example.com", "viewer", True)
    assert command.json("users role new@example.com admin")["role"] == "admin"
    assert not command.json("users deactivate new@example.com")["active"]
    assert [member["email"] for member in command.json("users list")["data"]] == [ADMIN, "new@example.com"]
    assert re.search(r"new@example.com +admin +no", command("users list").stdout)
    assert command.json("users activate new@example.com")["active"]
    assert command.json("users password new@example.com")["password"] not in (None, made["password"])


def test_tokens(command: Command, app: Flask) -> None:
    made = command.json("tokens create ci --scope usage:read --scope keys:read --expires-at 2030-01-01T00:00:00+01:00")
    assert made["scopes"] == ["keys:read", "usage:read"]
    assert made["expires_at"] == "2029-12-31T23:00:00Z"
    assert Api(app.test_client(), made.pop("token"))("GET", "/v1/keys").status_code == 200
    assert command.json("tokens list")["data"][0].keys() == made.keys()
    assert re.search(rf"{made['id']} +active +ci", command("tokens list").stdout)
    assert command.json(f"tokens revoke {made['id']} --yes")["revoked_at"]
    assert re.search(rf"{made['id']} +revoked +ci", command("tokens list").stdout)


def test_a_credential_comes_by_standard_input_or_a_file(
    command: Command, api: Api, app: Flask, org_id: str, tmp_path: Path
) -> None:
    told = command.json("providers set anthropic", given=f"{SECRET}\nand more\n")
    assert (told["provider"], told["credential"]["last4"]) == ("anthropic", "4711")
    with app.app_context():
        assert credential_of(org_id, "anthropic") == SECRET
    (tmp_path / "credential").write_text("sk-of-openai-4711-2\n")
    done = command("providers set openai --credential-file", str(tmp_path / "credential"))
    assert done.stdout == "Requests to OpenAI carry the credential that ends in 11-2 now.\n"
    assert re.search(r"openai +https://api.openai.com +\.\.\.11-2", command("providers list").stdout)
    (app.extensions["settings"].data_dir / SANDBOX_FILE).write_text("openai\ngemini")
    done = command("providers set openai", given="sk-of-openai-4711-3\n")
    assert "carry the credential that ends in 11-3 once the router is started again: the sandbox" in done.stdout
    at_sandbox = {one["provider"]: one["at_sandbox"] for one in command.json("providers list")["data"]}
    assert at_sandbox == {"openai": True, "anthropic": False, "gemini": True}
    assert "no such file" in command.fault("providers set openai --credential-file", str(tmp_path / "none"))
    assert "is a key of Anthropic" in command.fault("providers set openai", given=SECRET)
    assert command.fault("providers set openai", given="short\n").startswith("The credential must ")
    ours = tmp_path / "ours"
    ours.write_text(keys.mint(PROXY_TAG).raw)
    fault = command.fault("providers set openai --credential-file", str(ours))
    assert fault.startswith("--credential-file is a secret of this router")
    assert "No such option" in command.fault(f"providers set openai --credential {SECRET}")
    assert (
        "Forget the credential of Anthropic that ends in 4711?" in command("providers remove anthropic", code=1).stderr
    )
    assert command.json("providers remove anthropic --yes")["credential"] is None
    with app.app_context():
        assert credential_of(org_id, "anthropic") is None
    assert command.json("providers list") == api("GET", "/v1/providers").get_json()


def test_prices(command: Command) -> None:
    made = command.json("prices set openai gpt-4o input_tokens=1.25 output_tokens=10")
    assert made["rates"] == {"input_tokens": "1.25", "output_tokens": "10"}
    assert command.json("prices list")["data"] == [made]
    assert command.json("prices unset openai gpt-4o") == made
    assert command.json("prices list")["data"] == []


def test_who_did_it_is_written_down(command: Command, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    made = command.json("keys create x")
    monkeypatch.setenv("SUDO_USER", "alice")
    command.json(f"keys pause {made['id']}")
    with app.app_context():
        events = db.session.scalars(select(AuditEvent).where(AuditEvent.target == made["id"]).order_by(AuditEvent.id))
        actors = [event.actor for event in events]
    user = getpass.getuser()
    assert actors == [made["created_by"], f"command line (alice as {user})"]
    assert made["created_by"] == f"command line ({user})"


@pytest.mark.usefixtures("keeper")
def test_what_proxies_were_not_told_is_saved(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger writer lives and its counters do not answer."""
    monkeypatch.setattr("webapp.actions.policy.PATIENCE_SECONDS", 0.1)
    done = command("prices set openai gpt-4o input_tokens=1", code=3)
    assert "The change is saved, but the proxies could not be told" in done.stderr
    assert command.json("prices list")["data"][0]["model"] == "gpt-4o"


@pytest.mark.usefixtures("keeper")
def test_a_new_secret_is_printed_though_proxies_were_not_told(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.actions.policy.PATIENCE_SECONDS", 0.1)
    key_id = command.json("keys create x")["id"]
    done = command(f"keys rotate {key_id} --grace-seconds 0", code=3)
    assert looks_like_ours(done.stdout.strip().encode(), PROXY_TAG)
    assert "the proxies could not be told at once" in done.stderr
    told = command.json(f"keys rotate {key_id}", code=3)
    assert looks_like_ours(told["key"].encode(), PROXY_TAG)
    assert "the proxies could not be told at once" in told["notice"]


def test_a_member_on_the_page_sees_what_a_command_did(
    command: Command, member: FlaskClient, live: LiveCounters
) -> None:
    made = command.json("keys create", "from the shell")
    assert "from the shell" in member.get("/keys").text
    assert made["status"] == "active"
