"""docs/deploy.md and deploy/, tried: the files an image has, as the users and behind the nginx that the page gives."""

import configparser
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import harness
import psycopg
import pytest
import requests
from calls import chat, marker
from harness import Router, eventually
from nginx_kit import nginx
from redis_kit import RedisServer

from shared.config import SETTINGS
from webapp.launch import web_command

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
OURS = {row.name for row in SETTINGS}
COPIED = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """What compose.yaml starts."""
    return [json.loads(text) for text in re.findall(r"^    command: (\[.*?\])$", COMPOSE, re.MULTILINE | re.DOTALL)]


def run_sql(url: str, script: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in re.sub(r"^--.*$", "", script, flags=re.MULTILINE).split(";"):
            if statement.strip():
                connection.execute(statement.encode())


class Deployed(Router):
    """Each program with the database user that the page gives it."""

    users: dict[str, str]

    def start(self, name: str) -> None:
        self.environ["DATABASE_URL"] = self.users.get(name, self.users["owner"])
        super().start(name)

    def run_as(self, user: str, *arguments: str) -> str:
        self.environ["DATABASE_URL"] = self.users[user]
        return self.run(*arguments)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the Dockerfile copies, and nothing else, as its last RUN leaves them."""
    tree = tmp_path_factory.mktemp("image")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    step = re.search(r"^RUN \.venv/bin/python (-m compileall .*)$", DOCKERFILE, re.MULTILINE)
    assert step is not None
    subprocess.run([sys.executable, *step[1].split()], cwd=tree, check=True)
    return tree


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with the user of the page."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    rule = re.search(r"^ACL SETUSER .*$", PAGE, re.MULTILINE)
    assert rule is not None
    server.tell(*rule[0].replace("PASSWORD", "secret-of-redis").split())
    server.tell("ACL", "SETUSER", "default", "off")
    yield f"redis://router:secret-of-redis@127.0.0.1:{server.port}/0"
    server.process.terminate()
    server.process.wait()


@pytest.fixture(scope="module")
def users(postgres: str) -> Iterator[dict[str, str]]:
    """The database and the users of the page."""
    run_sql(postgres, blocks("sql")[0])
    at = postgres.partition("?")[2]
    names = ("owner", "dashboard", "proxy")
    yield {name: f"postgresql://router_{name}:{name}@/router?{at}" for name in names}
    run_sql(postgres, "DROP DATABASE router WITH (FORCE)")
    run_sql(postgres, ";".join(f"DROP ROLE router_{name}" for name in names))


@pytest.fixture(scope="module")
def router(
    tmp_path_factory: pytest.TempPathFactory, image: Path, users: dict[str, str], redis_url: str
) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "ROOT", image)
        data = tmp_path_factory.mktemp("router") / "data"
        router = Deployed(
            data, DATABASE_URL=users["owner"], ROUTER_LIMITS_URL=redis_url, ROUTER_TRUSTED_PROXIES="127.0.0.1"
        )
        router.users = users
        try:
            router.run_as("owner", "-m", "flask", "--app", "wsgi", "bootstrap")
            run_sql(users["owner"], blocks("sql")[1])
            for name in ("sandbox", "proxy", "dashboard"):
                router.start(name)
            yield router
        finally:
            router.stop_all()
    assert router.leaks() == []


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
    _log_in(router)
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "tokens", "create", "t")
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "users", "create", "new@example.com")
    router.kill_writer()
    eventually(lambda: router.writer_pid() != 0, what="another ledger writer")
    time.sleep(2)
    router.run_as("dashboard", "-m", "flask", "--app", "wsgi", "ledger", "verify")
    for name, text in router.logs().items():
        assert "permission denied" not in text, name
        assert "InsufficientPrivilege" not in text, name
        assert "ProgrammingError" not in text, name


def _log_in(router: Deployed) -> None:
    with requests.Session() as browser:
        page = browser.get(f"{router.web_url}/login", timeout=10).text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert token is not None
        form = {"csrf_token": token[1], "email": router.admin[0], "password": router.admin[1]}
        assert browser.post(f"{router.web_url}/login", data=form, timeout=10).status_code == 200
        assert "csrf_token" in browser.get(f"{router.web_url}/keys", timeout=10).text


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("dashboard", "UPDATE usage_daily SET cost_nanos = cost_nanos + 1"),
        ("dashboard", "INSERT INTO key_spend VALUES ('k', '2026-01-01', 1, 0, 0)"),
        ("dashboard", "UPDATE users SET role = 'admin'"),
        ("dashboard", "DELETE FROM audit_events"),
        ("dashboard", "DELETE FROM provider_credentials"),
        ("dashboard", "CREATE TABLE mine (id int)"),
        ("proxy", "DELETE FROM usage_records"),
        ("proxy", "UPDATE proxy_keys SET spend_limit_nanos = NULL"),
        ("proxy", "SELECT * FROM users"),
        ("proxy", "SELECT * FROM audit_events"),
        ("proxy", "INSERT INTO policy_outbox (subject) VALUES ('k')"),
    ],
)
def test_what_the_users_may_not(router: Deployed, users: dict[str, str], user: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run_sql(users[user], statement)


def test_sweeping_is_allowed(router: Deployed, users: dict[str, str]) -> None:
    """What the ledger writer does once a minute and once a month: nobody waits for that here."""
    run_sql(users["proxy"], "DELETE FROM idempotent_creations WHERE created_at < '2000-01-01'")
    run_sql(users["proxy"], "DELETE FROM journals WHERE closed_at < '2000-01-01'")


def test_behind_nginx(router: Deployed, tmp_path: Path) -> None:
    """Streams pass as they come, and the client's address is its own."""
    _, key = router.create_key(name="behind", allowed_ips=["192.0.2.7"])
    with nginx(tmp_path, [router.proxy_url], router.web_url) as front:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a b c"}], "stream": True}
        url, head = f"{front}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
        assert requests.post(url, json=body, headers=head, timeout=10).status_code == 403
        head["X-Forwarded-For"] = "192.0.2.7"  # what nginx appends is trusted, and this stands before it
        with requests.post(url, json=body, headers=head, timeout=10, stream=True) as answer:
            assert answer.status_code == 200
            assert answer.text.rstrip().endswith("[DONE]")


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
