"""Test connection of a provider of the organisation's own: asked where its models are, and only where it may be."""

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from dashboard_kit import Api, environment
from flask import Flask
from provider_kit import Provider

from shared.config import Settings
from webapp.bootstrap import BootstrapReport
from webapp.queries.connection import outcomes_of
from webapp.queries.providers import list_providers

SECRET = "gsk_" + "aB3" * 17
ALLOWED = "ROUTER_PROVIDERS_PRIVATE_ADDRESSES"


@pytest.fixture
def settings(prepared: tuple[Path, BootstrapReport], tmp_path: Path) -> Settings:
    """This machine's IPv4 addresses are allowed."""
    shutil.copytree(prepared[0], tmp_path / "data")
    return Settings.from_env({**environment(tmp_path / "data"), ALLOWED: "127.0.0.0/8"})


def ask(api: Api, base_url: str, **fields: Any) -> dict[str, Any]:
    sent = {"provider": "lab", "base_url": base_url, "credential": SECRET, **fields}
    answer = api("POST", "/v1/providers", sent)
    assert answer.status_code == 201, answer.text
    told = api("POST", "/v1/providers/lab/test")
    assert SECRET not in told.text
    return dict(told.get_json())


def test_it_works(api: Api, provider: Provider) -> None:
    told = ask(api, f"{provider.url}/openai/v1")
    assert (told["ok"], told["status"], told["message"]) == (True, 200, "lab answers and takes the credential.")
    ((path, headers),) = provider.heard
    assert path == "/openai/v1/models"
    assert headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("base", "path"), [("/openai/deployments/{model}", "/openai/models"), ("/{model}/x", "/models"), ("", "/models")]
)
def test_azure(api: Api, provider: Provider, base: str, path: str) -> None:
    assert ask(api, f"{provider.url}{base}", auth="api-key", api_version="2024-10-21")["ok"]
    ((asked, headers),) = provider.heard
    assert asked == f"{path}?api-version=2024-10-21"
    assert headers["api-key"] == SECRET
    assert "authorization" not in headers


def test_without_a_credential(api: Api, provider: Provider) -> None:
    told = ask(api, f"{provider.url}/v1", auth="none", credential=None)
    assert (told["ok"], told["message"]) == (True, "lab answers.")
    ((_, headers),) = provider.heard
    assert not {"authorization", "api-key"} & headers.keys()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "lab refuses the credential (401): no such key"),
        (404, "has no list of models (404)"),
        (307, "redirects elsewhere"),
        (500, "lab fails at the moment"),
    ],
)
def test_what_it_says_in_plain_words(api: Api, provider: Provider, status: int, words: str) -> None:
    provider.says(status, {"error": {"message": "no such key"}}, Location="/elsewhere")
    told = ask(api, f"{provider.url}/v1")
    assert not told["ok"]
    assert words in told["message"]
    assert len(provider.heard) == 1


def test_only_where_it_may_be(api: Api, provider: Provider) -> None:
    """A name is judged when it is connected to: here it is this machine, by an address that is not allowed."""
    port = provider.url.rpartition(":")[2]
    told = ask(api, f"http://ip6-localhost:{port}/v1" if _has_name("ip6-localhost") else f"http://0:{port}/v1")
    assert not told["ok"]
    assert ALLOWED in told["message"]
    assert provider.heard == []


def test_nobody_there(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = ask(api, f"http://127.0.0.1:{port}/v1")
    assert "connection refused" in told["message"]
    assert (
        api("PATCH", "/v1/providers/lab", {"base_url": "http://nobody.invalid/v1", "credential": SECRET}).status_code
        == 200
    )
    told = api("POST", "/v1/providers/lab/test").get_json()
    assert "its name is not known" in told["message"]


def test_doctor_and_the_command_ask_those_that_serve(app: Flask, api: Api, provider: Provider, org_id: str) -> None:
    ask(api, f"{provider.url}/v1", auth="none", credential=None)
    for name, fields in (("off", {"enabled": False}), ("other", {}), ("bare", {"credential": None})):
        sent = {"provider": f"lab-{name}", "base_url": f"{provider.url}/v1", "credential": SECRET, **fields}
        assert api("POST", "/v1/providers", sent).status_code == 201
    with app.app_context():
        found = outcomes_of(org_id, list_providers(org_id))
    assert {name: outcome.ok for name, outcome in found.items() if name.startswith("lab")} == {
        "lab": True, "lab-other": True,
    }  # fmt: skip


def _has_name(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, 1, socket.AF_INET6))
    except OSError:
        return False
