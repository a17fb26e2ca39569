"""Test connection: what a provider says to its credential, in plain words, and never the credential itself."""

import json
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from dashboard_kit import Api, environment
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import HTMX, hidden, submit
from provider_kit import Provider

from shared.config import Settings
from webapp import create_app, provider_test
from webapp.bootstrap import BootstrapReport

SECRET = "sk-ant-api03-" + "aB3_-" * 18


@pytest.fixture
def settings(prepared: tuple[Path, BootstrapReport], tmp_path: Path, provider: Provider) -> Settings:
    """All three providers are this one."""
    shutil.copytree(prepared[0], tmp_path / "data")
    return settings_of(provider, tmp_path / "data")


def settings_of(provider: Provider, data_dir: Path) -> Settings:
    urls = {f"ROUTER_{name}_URL": provider.url for name in ("OPENAI", "ANTHROPIC", "GEMINI")}
    return Settings.from_env({**environment(data_dir), **urls})


@pytest.fixture
def ask(api: Api, caplog: pytest.LogCaptureFixture) -> Callable[..., dict[str, Any]]:
    """`ask(slug)`: what the JSON API tells of the connection. Neither it nor the log holds the credential."""

    def ask(slug: str = "anthropic", *, secret: str = SECRET) -> dict[str, Any]:
        assert api("PUT", f"/v1/providers/{slug}/credential", {"credential": secret}).status_code == 200
        answer = api("POST", f"/v1/providers/{slug}/test")
        assert answer.status_code == 200, answer.text
        assert secret not in answer.text + caplog.text
        told: dict[str, Any] = answer.get_json()
        return told

    return ask


@pytest.mark.parametrize(
    ("slug", "path", "header", "value"),
    [
        ("openai", "/v1/models", "authorization", f"Bearer {SECRET}"),
        ("anthropic", "/v1/models?limit=1", "x-api-key", SECRET),
        ("gemini", "/v1beta/models?pageSize=1", "x-goog-api-key", SECRET),
    ],
)
def test_it_works(
    ask: Callable[..., dict[str, Any]], provider: Provider, slug: str, path: str, header: str, value: str
) -> None:
    provider.says(200, {"models" if slug == "gemini" else "data": []})
    told = ask(slug)
    assert (told["provider"], told["ok"], told["status"]) == (slug, True, 200)
    assert told["message"].endswith("takes the credential.")
    assert told["latency_ms"] >= 0
    ((asked, headers),) = provider.heard
    assert asked == path
    assert headers[header] == value
    # Each provider gets its credential where it looks for it, and no other's header.
    assert [name for name in ("authorization", "x-api-key", "x-goog-api-key") if name in headers] == [header]
    assert ("anthropic-version" in headers) == (slug == "anthropic")


@pytest.mark.parametrize(
    ("status", "document", "words"),
    [
        (
            401,
            {"type": "error", "error": {"message": "invalid x-api-key"}},
            "refuses the credential (401): invalid x-api-key",
        ),
        (403, {"error": {"message": "no access"}}, "refuses the credential (403): no access"),
        (
            400,
            [{"error": {"code": 400, "message": "API key not valid."}}],
            "refuses the credential (400): API key not valid.",
        ),
        (401, {"error": "just text"}, "refuses the credential (401): just text"),
        (429, {"error": {"message": "slow down"}}, "takes no more requests of it at the moment (429): slow down"),
        (503, {"error": {"message": "overloaded"}}, "fails at the moment (503): overloaded"),
        (404, b"<html>nothing here</html>", "has no list of models (404)"),
        (200, b"<html>a login page</html>", "answers, but not as Anthropic does"),
        (200, b"[]", "answers, but not as Anthropic does"),
        (302, b"", "redirects elsewhere (302)"),
        (401, b"[" * 100_000, "refuses the credential (401)."),
        (401, {"error": {"message": ["no", "text"]}}, "refuses the credential (401)."),
        (401, b"\xff\xfe", "refuses the credential (401)."),
    ],
)
def test_what_a_provider_says_is_told_in_words(
    ask: Callable[..., dict[str, Any]], provider: Provider, status: int, document: Any, words: str
) -> None:
    provider.says(status, document)
    told = ask()
    assert (told["ok"], told["status"]) == (False, status)
    assert words in told["message"]


@pytest.mark.parametrize(
    "saying",
    [
        f"Incorrect API key provided: {SECRET}.",
        f"Incorrect API key provided: {SECRET[:30]}...",
        f"Incorrect API key provided: ...{SECRET[-20:]}",
        f"you sent x-api-key={SECRET}",
        f"a line\nbreak, a \x1b[31mcolour, {SECRET}",
        "somebody else's: sk-proj-" + "x1" * 20,
    ],
)
def test_a_provider_that_repeats_the_credential_is_not_repeated(
    ask: Callable[..., dict[str, Any]], provider: Provider, saying: str
) -> None:
    provider.says(401, {"error": {"message": saying}})
    message = ask()["message"]
    assert message.isprintable()
    assert "[secret]" in message
    assert not [start for start in range(len(SECRET) - 8) if SECRET[start : start + 8] in message]
    assert "x1x1" not in message


def test_a_long_saying_is_cut(ask: Callable[..., dict[str, Any]], provider: Provider) -> None:
    provider.says(401, {"error": {"message": "no " * 50_000}})
    assert len(ask()["message"]) < 500


def test_a_redirect_is_not_followed(ask: Callable[..., dict[str, Any]], provider: Provider) -> None:
    """Else the credential would go wherever the answer points."""
    provider.says(302, b"", Location=f"{provider.url}/elsewhere")
    ask()
    assert [path for path, _ in provider.heard] == ["/v1/models?limit=1"]


def test_nothing_of_the_environment_is_heeded(
    ask: Callable[..., dict[str, Any]], provider: Provider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask("openai")["ok"]
    assert provider.heard[0][1]["authorization"] == f"Bearer {SECRET}"


def test_a_provider_that_is_not_there(ask: Callable[..., dict[str, Any]], provider: Provider) -> None:
    provider.close()
    told = ask()
    assert (told["ok"], told["status"], told["latency_ms"]) == (False, None, None)
    assert "cannot be reached" in told["message"]
    assert provider.url in told["message"]


def test_a_provider_that_says_nothing(
    ask: Callable[..., dict[str, Any]], provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_test, "TIMEOUT_SECONDS", 0.3)
    over = threading.Event()

    def script(_: BaseHTTPRequestHandler) -> None:
        over.wait(20)

    provider.script = script
    try:
        assert "does not answer at" in ask()["message"]
    finally:
        over.set()


def test_a_provider_that_breaks_off(ask: Callable[..., dict[str, Any]], provider: Provider) -> None:
    def script(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
        handler.close_connection = True

    provider.script = script
    assert not ask()["ok"]


def test_an_answer_without_end_is_read_as_far_as_it_says_something(
    ask: Callable[..., dict[str, Any]], provider: Provider
) -> None:
    body = json.dumps({"object": "list", "data": ["x" * 1000] * 2000}).encode()
    provider.says(200, body)
    assert ask()["ok"]


def test_without_a_credential_nobody_is_asked(api: Api, provider: Provider) -> None:
    told = api("POST", "/v1/providers/openai/test").get_json()
    assert (told["ok"], told["status"]) == (False, None)
    assert "no credential for OpenAI" in told["message"]
    assert provider.heard == []
    assert api("POST", "/v1/providers/mistral/test").status_code == 404


def test_the_sandboxs_credential_goes_nowhere(
    ask: Callable[..., dict[str, Any]], provider: Provider, app: Flask, api: Api, settings: Settings
) -> None:
    """Not even to an address that was set by hand; and the command says the same."""
    told = ask("openai", secret="sandbox-credential")
    assert (told["ok"], told["status"], told["latency_ms"]) == (True, None, None)
    assert "it was not asked" in told["message"]
    assert provider.heard == []
    assert told["message"] in app.test_cli_runner().invoke(args=["providers", "test", "openai"]).output
    (settings.data_dir / "encryption_key").write_text(Fernet.generate_key().decode())
    closed = create_app(settings_of(provider, settings.data_dir))
    lost = Api(closed.test_client(), api.token)("POST", "/v1/providers/openai/test").get_json()
    assert not lost["ok"]
    assert "cannot be opened: put what ROUTER_ENCRYPTION_KEY was" in lost["message"]
    assert lost["message"] in closed.test_cli_runner().invoke(args=["providers", "test", "openai"]).output


def test_the_page_with_and_without_htmx(
    api: Api, provider: Provider, enter: Callable[[str], FlaskClient], app: Flask
) -> None:
    api("PUT", "/v1/providers/openai/credential", {"credential": SECRET})
    admin = enter("admin")
    page = admin.get("/providers")
    provider.says(401, {"error": {"message": "<b>no</b>"}})
    whole = submit(admin, "/providers/openai/test", form_of=page)
    assert whole.status_code == 200
    assert "Does not work" in whole.text
    assert "&lt;b&gt;no&lt;/b&gt;" in whole.text
    assert whole.text.count("refuses the credential") == 1
    token = hidden(page, "csrf_token")
    part = admin.post("/providers/openai/test", data={"csrf_token": token}, headers=HTMX)
    assert "<html" not in part.text
    assert "refuses the credential" in part.text
    provider.says(200, {"data": []})
    assert "OpenAI answers and takes the credential." in submit(admin, "/providers/openai/test", form_of=page).text
    assert SECRET not in whole.text + part.text
