"""What docs/deploy.md and deploy/ give, set up: the files of an image, the users of both servers, a router of these."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import harness
import psycopg
import pytest
import requests
from harness import Router
from redis_kit import RedisServer

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
REDIS_PASSWORD = "secret-of-redis"
COPIED = [line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def redis_rules() -> dict[str, list[str]]:
    """The ACL commands of the page, by whom they are for."""
    found = re.findall(r"^(ACL SETUSER router_(\w+) .*)$", PAGE, re.MULTILINE)
    return {name: line.replace("PASSWORD", REDIS_PASSWORD).split() for line, name in found}


def run_sql(url: str, script: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in re.sub(r"^--.*$", "", script, flags=re.MULTILINE).split(";"):
            if statement.strip():
                connection.execute(statement.encode())


class Deployed(Router):
    """Each program with the database user that the page gives it."""

    users: dict[str, str]
    counters: dict[str, str]

    def _spawn(self, name: str) -> None:
        self.environ["DATABASE_URL"] = self.users.get(name, self.users["owner"])
        self.environ["ROUTER_LIMITS_URL"] = self.counters["dashboard" if name == "dashboard" else "proxy"]
        if name == "proxy":
            self.environ["ROUTER_LEDGER_DATABASE_URL"] = self.users["ledger"]
        super()._spawn(name)
        self.environ.pop("ROUTER_LEDGER_DATABASE_URL", None)

    def run_as(self, user: str, *arguments: str) -> str:
        self.environ["DATABASE_URL"] = self.users[user]
        self.environ["ROUTER_LIMITS_URL"] = self.counters["dashboard"]
        return self.run(*arguments)


def administer(router: Deployed) -> None:
    """What administrators do: members and invitations, defaults of the organisation, prices and credentials."""
    invited = router.api("POST", "/v1/invitations", json={"email": "guest@example.com", "role": "viewer"}).json()
    assert router.api("DELETE", f"/v1/invitations/{invited['id']}").ok
    (member,) = (one for one in router.api("GET", "/v1/members").json()["data"] if one["email"] == "new@example.com")
    assert router.api("PATCH", f"/v1/members/{member['id']}", json={"role": "viewer"}).status_code == 200
    assert router.api("DELETE", f"/v1/members/{member['id']}").status_code == 200
    rules = {
        "name": "Ours", "default_spend_limit_usd": "5", "default_spend_reset": "weekly", "default_expiry_days": 30,
        "default_rate_limit_rpm": 60, "max_spend_limit_usd": "50", "max_expiry_days": 60, "max_rate_limit_rpm": 600,
        "spend_limit_required": True,
    }  # fmt: skip
    assert router.api("PATCH", "/v1/organization", json=rules).status_code == 200
    nothing = {name: None for name in rules if name.startswith(("default_", "max_")) and name != "default_spend_reset"}
    back = {**nothing, "default_spend_reset": "never", "spend_limit_required": False}
    assert router.api("PATCH", "/v1/organization", json=back).status_code == 200


def log_in(router: Deployed) -> None:
    """As a browser does."""
    with requests.Session() as browser:
        page = browser.get(f"{router.web_url}/login", timeout=10).text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert token is not None
        form = {"csrf_token": token[1], "email": router.admin[0], "password": router.admin[1]}
        assert browser.post(f"{router.web_url}/login", data=form, timeout=10).status_code == 200
        assert "csrf_token" in browser.get(f"{router.web_url}/keys", timeout=10).text


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
def counters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Redis with the users of the page, and how each reaches it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    rules = redis_rules()
    for rule in rules.values():
        server.tell(*rule)
    server.tell("ACL", "SETUSER", "default", "off")
    yield {name: f"redis://router_{name}:{REDIS_PASSWORD}@127.0.0.1:{server.port}/0" for name in rules}
    server.process.terminate()
    server.process.wait()


@pytest.fixture(scope="module")
def users(postgres: str) -> Iterator[dict[str, str]]:
    """The database and the users of the page."""
    run_sql(postgres, blocks("sql")[0])
    at = postgres.partition("?")[2]
    names = ("owner", "dashboard", "proxy", "ledger")
    yield {name: f"postgresql://router_{name}:{name}@/router?{at}" for name in names}
    run_sql(postgres, "DROP DATABASE router WITH (FORCE)")
    run_sql(postgres, ";".join(f"DROP ROLE router_{name}" for name in names))


@pytest.fixture(scope="module")
def router(
    tmp_path_factory: pytest.TempPathFactory, image: Path, users: dict[str, str], counters: dict[str, str]
) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "ROOT", image)
        data = tmp_path_factory.mktemp("router") / "data"
        router = Deployed(
            data,
            DATABASE_URL=users["owner"],
            ROUTER_LIMITS_URL=counters["dashboard"],
            ROUTER_TRUSTED_PROXIES="127.0.0.1",
        )
        router.users, router.counters = users, counters
        try:
            router.run_as("owner", "-m", "flask", "--app", "wsgi", "bootstrap")
            run_sql(users["owner"], blocks("sql")[1])
            router.start("sandbox", "proxy", "dashboard")
            yield router
        finally:
            router.stop_all()
    assert router.leaks() == []
