"""Each example of a key's page works as it stands there, with the key in the environment: run by a shell, or read as its
reader would. Where a client is not installed, a stand-in sends what the client would (`snippet_programs`).
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import pytest
import requests
import snippet_programs
from drivers import session_of
from harness import ROOT, Router
from machine import made

Texts = dict[str, str]
CLIENTS = ROOT / "tests" / "clients"
SECONDS = 180  # Open WebUI takes a minute to start
# The interpreter that has the client, where it is not the tests' own.
_OF_CLIENTS = ("langchain", "litellm")
_OF_NODE = ("node", "ai-sdk", "continue")
ENDPOINTS = {
    "anthropic": "/v1/messages", "claude-code": "/v1/messages", "codex": "/v1/responses",
    "gemini": ":generateContent", "gemini-cli": ":streamGenerateContent",
}  # fmt: skip


@pytest.fixture(scope="module")
def staff(router: Router) -> Iterator[requests.Session]:
    with session_of(router) as session:
        yield session


@pytest.fixture(scope="module")
def examples(router: Router, staff: requests.Session) -> Callable[[str], Texts]:
    """`examples(key_id)`: the texts on the page of a key."""

    def examples(key_id: str) -> Texts:
        page = staff.get(f"{router.web_url}/keys/{key_id}", timeout=10)
        assert page.status_code == 200, page.text
        found = re.findall(r'<pre id="snippet-([\w-]+)"[^>]*><code>(.*?)</code></pre>', page.text, re.DOTALL)
        return {slug: unescape(text) for slug, text in found}

    return examples


def run(slug: str, text: str, key: str, folder: Path) -> str:
    """What a shell says that is given this text, in an environment with nothing of this machine's."""
    programs = folder / "programs"
    programs.mkdir()
    names = [name for name in snippet_programs.PROGRAMS if name != "curl" or shutil.which("curl") is None]
    snippet_programs.install(programs, names)
    python = Path(sys.executable)
    if slug in _OF_CLIENTS:
        python = Path(made("the clients in Python", ROOT / ".venv-clients" / "bin" / "python"))
    home, modules = folder, CLIENTS / "node" / "node_modules"
    if slug in _OF_NODE:
        made("the clients for Node", modules / ".bin" / "cn")
        home = modules.parent
    environ = {
        "PATH": os.pathsep.join((str(programs), str(python.parent), str(modules / ".bin"), os.environ["PATH"])),
        "HOME": str(folder), "LANG": "C.UTF-8", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "ROUTER_KEY": key,
        # Of other accounts, which examples have to put aside.
        **({"ANTHROPIC_API_KEY": "sk-other"} if slug == "claude-code" else {}),
        **({"GOOGLE_API_KEY": "other"} if slug == "gemini-cli" else {}),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-euc", text], cwd=home, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{slug}: {done.stderr[-3_000:]}"
    return done.stdout


def try_out(router: Router, slug: str, text: str, key: str, folder: Path) -> None:
    assert key not in text
    assert router.proxy_url in text
    if slug in snippet_programs.READERS:
        snippet_programs.READERS[slug](text, {"ROUTER_KEY": key})
    else:
        asked = snippet_programs.continue_asked(text) if slug == "continue" else text
        assert run(slug, asked, key, folder).strip(), slug


ALL = (
    "openai", "curl", "anthropic", "claude-code", "gemini", "gemini-cli", "codex", "node", "ai-sdk", "langchain", "litellm",
    "llm", "opencode", "aider", "continue", "open-webui", "powershell",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("slug", ALL)
def test_it_works(router: Router, examples: Callable[[str], Texts], tmp_path: Path, slug: str) -> None:
    key_id, key = router.create_key(name=f"example {slug}", spend_limit_usd="5")
    found = examples(key_id)
    assert tuple(found) == ALL
    try_out(router, slug, found[slug], key, tmp_path)
    router.wait_for_ledger(key_id, 1)
    asked = router.api("GET", f"/v1/keys/{key_id}/requests").json()["data"]
    assert {one["outcome"] for one in asked} == {"ok"}
    assert any(one["endpoint"].endswith(ENDPOINTS.get(slug, "/v1/chat/completions")) for one in asked), asked
    assert router.api("GET", f"/v1/keys/{key_id}/refusals").json()["data"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "slugs"),
    [
        ({"allowed_models": ["claude-opus-4-*"]}, ("curl", "anthropic", "claude-code", "opencode", "continue")),
        ({"allowed_providers": ["gemini"]}, ("curl", "gemini-cli", "aider", "open-webui", "powershell")),
        ({"allowed_models": ["gpt-5.3-codex"]}, ("codex",)),
        ({"allowed_models": ["text-embedding-3-*"]}, ("curl",)),
    ],
    ids=["anthropic", "gemini", "codex", "embeddings"],
)
def test_a_key_with_limits_gets_examples_that_stay_within_them(
    router: Router,
    examples: Callable[[str], Texts],
    tmp_path: Path,
    fields: dict[str, list[str]],
    slugs: tuple[str, ...],
) -> None:
    key_id, key = router.create_key(name="example within limits", spend_limit_usd="5", **fields)
    found = examples(key_id)
    assert set(slugs) <= set(found)
    for slug in slugs:
        folder = tmp_path / slug
        folder.mkdir()
        try_out(router, slug, found[slug], key, folder)
    assert router.api("GET", f"/v1/keys/{key_id}/refusals").json()["data"] == []
