"""docs/deploy.md and deploy/, tried: the files an image has, as the users and behind the nginx that the page gives."""

import configparser
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis
import requests
from calls import chat, marker
from deploy_kit import (  # fixtures among them
    COMPOSE,
    COPIED,
    DOCKERFILE,
    ROOT,
    Deployed,
    administer,
    blocks,
    counters,
    image,
    log_in,
    router,
    run_sql,
    users,
)
from harness import eventually, free_port
from lost_machine import ROWS, lose_machine
from nginx_kit import nginx
from session_kit import RESPONSES, create, hear, opened_at

from proxyd.accounting.lapsed_hand_overs import forget_lapsed
from shared import db
from shared.config import SETTINGS
from shared.models import REVISION
from webapp.launch import web_command

OURS = {row.name for row in SETTINGS}
__all__ = ["counters", "image", "router", "users"]


def commands() -> list[list[str]]:
    """What compose.yaml starts."""
    return [json.loads(text) for text in re.findall(r"^    command: (\[.*?\])$", COMPOSE, re.MULTILINE | re.DOTALL)]


def test_it_works(router: Deployed) -> None:
    """All that the programs do, each as its own database user."""
    key_id, key = router.create_key(name="a", spend_limit_usd="1.00", rate_limit_rpm=100)
    assert [chat(router, key, marker()).status_code for _ in range(3)] == [200, 200, 200]
    router.edit(key_id, name="b", paused=True)
    assert chat(router, key).status_code == 403
    router.edit(key_id, paused=False)
    router.kill_worker()
    assert chat(router, key, marker()).status_code == 200
    router.wait_for_ledger(key_id, 4)
    again = {"Idempotency-Key": "once"}
    made = [router.api("POST", "/v1/keys", json={"name": "c"}, headers=again).json()["id"] for _ in range(2)]
    assert made[0] == made[1]
    assert router.api("DELETE", f"/v1/keys/{made[0]}").status_code == 200
    log_in(router)
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "tokens", "create", "t")
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "users", "create", "new@example.com")
    administer(router)
    router.kill_writer()
    eventually(lambda: router.writer_pid() != 0, what="another ledger writer")
    time.sleep(2)
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "ledger", "verify")
    for name, text in router.logs().items():
        assert "permission denied" not in text, name
        assert "NOPERM" not in text, name
        assert "InsufficientPrivilege" not in text, name
        assert "ProgrammingError" not in text, name


def test_what_is_billed_later_is_booked(router: Deployed) -> None:
    key_id, key = router.create_key(name="later")
    asked = {"model": "gpt-4o-mini", "input": marker(), "background": True}
    at = {"Authorization": f"Bearer {key}"}
    begun = requests.post(f"{router.proxy_url}/v1/responses", json=asked, headers=at, timeout=10).json()
    for _ in range(2):
        found = requests.get(f"{router.proxy_url}/v1/responses/{begun['id']}", headers=at, timeout=10)
        assert (found.status_code, found.json()["status"]) == (200, "completed")
    router.wait_for_ledger(key_id, 4)  # its beginning, two reads, and what it cost
    assert float(router.key(key_id)["spend"]["lifetime_usd"]) > 0


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("dashboard", "UPDATE usage_daily SET cost_nanos = cost_nanos + 1"),
        ("dashboard", "INSERT INTO key_spend VALUES ('k', '2026-01-01', 1, 0, 0)"),
        ("dashboard", "UPDATE users SET email = 'x'"),
        ("dashboard", "DELETE FROM audit_events"),
        ("dashboard", "DELETE FROM proxy_keys"),
        ("dashboard", "CREATE TABLE mine (id int)"),
        ("dashboard", "UPDATE accounting_state SET generation = 1"),
        ("proxy", "DELETE FROM usage_records"),
        ("proxy", "INSERT INTO usage_records (id) VALUES ('a')"),
        ("proxy", "UPDATE usage_daily SET requests = requests + 1"),
        ("proxy", "UPDATE key_spend SET total_nanos = 0"),
        ("proxy", "UPDATE accounting_state SET generation = generation + 1"),
        ("proxy", "UPDATE journals SET position = 0"),
        ("proxy", "DELETE FROM journals"),
        ("proxy", "INSERT INTO posted_holds VALUES ('w', '[]')"),
        ("proxy", "DELETE FROM job_bookings"),
        ("proxy", "UPDATE provider_jobs SET key_id = 'k'"),
        ("proxy", "SELECT cost_nanos FROM usage_records"),
        ("proxy", "DELETE FROM policy_outbox"),
        ("proxy", "UPDATE proxy_keys SET spend_limit_nanos = NULL"),
        ("proxy", "SELECT * FROM users"),
        ("proxy", "SELECT * FROM audit_events"),
        ("proxy", "INSERT INTO policy_outbox (subject) VALUES ('k')"),
        ("ledger", "DELETE FROM usage_records"),
        ("ledger", "UPDATE usage_records SET cost_nanos = 0"),
        ("ledger", "DELETE FROM usage_daily"),
        ("ledger", "DELETE FROM key_spend"),
        ("ledger", "SELECT * FROM key_secrets"),
        ("ledger", "SELECT * FROM provider_credentials"),
        ("ledger", "SELECT password_hash FROM users"),
        ("ledger", "SELECT name FROM proxy_keys"),
        ("ledger", "UPDATE proxy_keys SET version = version + 1"),
        ("ledger", "INSERT INTO audit_events (id) VALUES ('a')"),
        ("ledger", "SELECT sealed FROM hand_overs"),
        ("ledger", "DELETE FROM hand_overs"),
        ("proxy", "SELECT * FROM hand_overs"),
        ("ledger", "CREATE TABLE mine (id int)"),
    ],
)
def test_what_the_users_may_not(router: Deployed, users: dict[str, str], user: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run_sql(users[user], statement)


def test_sweeping_is_allowed(router: Deployed, users: dict[str, str]) -> None:
    """What the ledger writer does once a minute and once a month: nobody waits for that here."""
    for table, moment in (
        ("idempotent_creations", "created_at"), ("journals", "closed_at"), ("machines", "posted_at"),
        ("provider_jobs", "admitted_at"), ("job_bookings", "taken_at"),
    ):  # fmt: skip
        run_sql(users["ledger"], f"DELETE FROM {table} WHERE {moment} < '2000-01-01'")
    engine = db.create(users["ledger"].replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        assert forget_lapsed(connection) == 0
    engine.dispose()


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("proxy", "FLUSHDB"),
        ("proxy", "KEYS *"),
        ("proxy", "CONFIG GET *"),
        ("proxy", "SCRIPT FLUSH"),
        ("proxy", "DEL {enterprise-router}:login:ann"),
        ("proxy", "SET other 1"),
        ("dashboard", "FLUSHALL"),
        ("dashboard", "DEL {enterprise-router}:counters"),
        ("dashboard", "SREM {enterprise-router}:1:workers w"),
    ],
)
def test_what_the_users_of_redis_may_not(counters: dict[str, str], user: str, command: str) -> None:
    with redis.Redis.from_url(counters[user]) as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.split())


def test_each_way_to_the_database_leads_to_one(
    router: Deployed, users: dict[str, str], postgres: str, tmp_path: Path
) -> None:
    """A ledger writer that would write elsewhere than workers read, or whose user has a wrong name, stops the start."""
    environ = {**router.environ, "ROUTER_DATA_DIR": str(tmp_path / "data"), "DATABASE_URL": users["proxy"]}
    environ |= {"ROUTER_PROXY_BIND": f"127.0.0.1:{free_port()}", "ROUTER_LIMITS_URL": router.counters["proxy"]}
    other = users["owner"].replace("/router?", "/other?")
    run_sql(postgres, "CREATE DATABASE other OWNER router_owner TEMPLATE template0 ENCODING 'UTF8'")
    try:
        run_sql(other, f"CREATE TABLE alembic_version AS SELECT '{REVISION}' AS version_num")
        run_sql(other, "CREATE TABLE accounting_state AS SELECT 1 AS id, 0 AS generation, 0 AS installation")
        for url, sentence in (
            (other, "ROUTER_LEDGER_DATABASE_URL names another database than DATABASE_URL."),
            (users["ledger"].replace("router_ledger", "nobody"), 'role "nobody" does not exist'),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "proxyd"],
                cwd=ROOT,
                env={**environ, "ROUTER_LEDGER_DATABASE_URL": url},
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 2
            assert done.stderr.splitlines()[-1].startswith("ROUTER_LEDGER_DATABASE_URL")
            assert sentence in done.stderr.splitlines()[-1]
    finally:
        run_sql(postgres, "DROP DATABASE other WITH (FORCE)")


def test_journals_of_a_lost_machine_are_imported_by_who_writes_the_ledger(
    router: Deployed, users: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the environment of a proxy, whose workers may neither read the ledger nor write it."""
    lose_machine(tmp_path / "lost")
    command = ("-m", "flask", "--app", "wsgi", "ledger", "import", str(tmp_path / "lost"))
    with pytest.raises(AssertionError, match=r"DATABASE_URL: the journals cannot be imported: permission denied"):
        router.run_as("proxy", *command)
    monkeypatch.setitem(router.environ, "ROUTER_LEDGER_DATABASE_URL", users["dashboard"])
    with pytest.raises(AssertionError, match=r"ROUTER_LEDGER_DATABASE_URL: the journals cannot be imported: perm"):
        router.run_as("proxy", *command)
    monkeypatch.setitem(router.environ, "ROUTER_LEDGER_DATABASE_URL", users["ledger"])
    assert ": 3 rows" in router.run_as("proxy", *command, "--dry-run")
    assert ": 3 rows" in router.run_as("proxy", *command)
    with psycopg.connect(users["dashboard"]) as connection:
        found = connection.execute(
            "SELECT id, outcome, cost_nanos FROM usage_records WHERE key_id = 'key_1' ORDER BY id"
        )
        assert found.fetchall() == ROWS
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "ledger", "verify")


def test_behind_nginx(router: Deployed, tmp_path: Path) -> None:
    """Streams and WebSockets pass as they come, and the client's address is its own."""
    _, key = router.create_key(name="behind", allowed_ips=["192.0.2.7"])
    with nginx(tmp_path, [router.proxy_url], router.web_url) as front:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a b c"}], "stream": True}
        url, head = f"{front}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
        assert requests.post(url, json=body, headers=head, timeout=10).status_code == 403
        head["X-Forwarded-For"] = "192.0.2.7"  # what nginx appends is trusted, and this stands before it
        with requests.post(url, json=body, headers=head, timeout=10, stream=True) as answer:
            assert answer.status_code == 200
            assert answer.text.rstrip().endswith("[DONE]")
        with opened_at(front, RESPONSES, head) as session:
            create(session, "a b c")
            assert hear(session, "response.completed", "error")["response"]["usage"]["output_tokens"] > 0


def test_the_units_start_what_there_is(router: Deployed) -> None:
    units = [block for block in blocks("ini") if "[Service]" in block]
    started = []
    for block in units:
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str  # type: ignore[assignment,method-assign] # names of units have capitals
        unit.read_string(block)
        service = unit["Service"]
        home = service["WorkingDirectory"]
        words = service["ExecStart"].replace("${ROUTER_WEB_BIND}", str(router.settings.web_bind)).split()
        assert words[0] == f"{home}/.venv/bin/python"
        assert service["KillMode"] == "mixed"
        started.append(["" if word == '""' else word for word in words[1:]])
    assert started == [["-m", "proxyd"], web_command(router.settings)]
    variables = next(block for block in blocks("ini") if "[Service]" not in block)
    assert {line.partition("=")[0] for line in variables.splitlines()} <= OURS


def test_compose_starts_what_there_is(router: Deployed) -> None:
    ours = [command for command in commands() if command[0] in ("python", "flask")]
    dashboard = ["python", *web_command(router.settings)]
    dashboard[dashboard.index("--bind") + 1] = "0.0.0.0:8000"
    assert ours == [["flask", "--app", "wsgi", "bootstrap"], ["python", "-m", "proxyd"], dashboard]
    names = set(re.findall(r"^ +([A-Z_]+): ", COMPOSE, re.MULTILINE))
    assert names - {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"} <= OURS
    assert set(re.findall(r"\$\{([A-Z_]+)", COMPOSE)) <= OURS | {"POSTGRES_PASSWORD"}
    (path,) = set(re.findall(r"^ +dockerfile: (\S+)$", COMPOSE, re.MULTILINE))
    assert (ROOT / path).is_file()
    volume = re.search(r"- data:(\S+)", COMPOSE)
    assert volume is not None
    assert f"ROUTER_DATA_DIR={volume[1]}" in DOCKERFILE


def test_the_image_has_what_there_is_and_an_unprivileged_user() -> None:
    assert all((ROOT / name).exists() for name in COPIED)
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert {line[1:] for line in ignored.splitlines() if line.startswith("!")} == {name.rstrip("/") for name in COPIED}
    names = set(re.findall(r"\b(ROUTER_[A-Z_]+)=", DOCKERFILE))
    assert names <= OURS
    assert re.search(r"^USER router$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.index("\nUSER router") > DOCKERFILE.rindex("\nRUN ")
    assert 'CMD ["python", "-m", "proxyd"]' in DOCKERFILE
