"""Clients that people really use, each at its own pinned version: frameworks in Python, the SDKs for Node, one for Go.

They are installed by `make clients`, apart from the product and its tests; a part that is not there is skipped by name.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from answers_kit import ARGUMENTS, COST, TEXT, TOOL, answer
from calls import own_spend
from counting_relay import CountingRelay
from harness import ROOT, Json, Router
from machine import made
from raw_http import ScriptedProvider

CLIENTS = ROOT / "tests" / "clients"
Command = Callable[[Json], list[str]]


def framework(name: str) -> Command:
    def command(given: Json) -> list[str]:
        python = made("the clients in Python", ROOT / ".venv-clients" / "bin" / "python")
        return [python, str(CLIENTS / "python" / "frameworks.py"), json.dumps({**given, "framework": name})]

    return command


def node(given: Json) -> list[str]:
    made("the clients for Node", CLIENTS / "node" / "node_modules" / "openai" / "package.json")
    return ["node", str(CLIENTS / "node" / "clients.mjs"), json.dumps(given)]


def go(given: Json) -> list[str]:
    return [made("the client in Go", CLIENTS / "go" / "client"), json.dumps(given)]


# By program: the clients in it, the provider that each calls, and the classes of its errors of 401 and 403.
PROGRAMS: dict[str, tuple[Command, dict[str, tuple[str, str]]]] = {
    "pydantic-ai": (
        framework("pydantic-ai"),
        {
            "pydantic-ai openai": ("openai", "ModelAuthenticationError"),
            "pydantic-ai responses": ("openai", "ModelAuthenticationError"),
            "pydantic-ai anthropic": ("anthropic", "ModelAuthenticationError"),
            "pydantic-ai google": ("gemini", "ModelAuthenticationError"),
        },
    ),
    "langchain": (
        framework("langchain"),
        {
            "langchain-openai": ("openai", "OpenAIAuthenticationError OpenAIPermissionDeniedError"),
            "langchain-anthropic": ("anthropic", "AnthropicAuthenticationError AnthropicPermissionDeniedError"),
            "langchain-google-genai": ("gemini", "GoogleAuthenticationError GooglePermissionDeniedError"),
        },
    ),
    "litellm": (
        framework("litellm"),
        {
            "litellm openai": ("openai", "AuthenticationError APIError"),
            "litellm anthropic": ("anthropic", "AuthenticationError PermissionDeniedError"),
            "litellm gemini": ("gemini", "AuthenticationError BadRequestError"),
        },
    ),
    "node": (
        node,
        {
            "node openai": ("openai", "AuthenticationError PermissionDeniedError"),
            "node anthropic": ("anthropic", "AuthenticationError PermissionDeniedError"),
            "node google": ("gemini", "ApiError"),
            "ai-sdk openai": ("openai", "APICallError"),
            "ai-sdk anthropic": ("anthropic", "APICallError"),
            "ai-sdk google": ("gemini", "APICallError"),
        },
    ),
    "go": (go, {"go-openai": ("openai", "APIError")}),
}


@pytest.fixture
def relay(stage: Router, provider: ScriptedProvider) -> Iterator[CountingRelay]:
    provider.play(answer)
    relay = CountingRelay(stage.proxy_url)
    yield relay
    relay.close()


def keys_for(stage: Router, client: str) -> dict[str, str]:
    good = stage.create_key(name=client, spend_limit_usd="5")[1]
    poor = stage.create_key(name=f"{client}, poor", spend_limit_usd="0.000001")[1]
    return {"good": good, "poor": poor, "wrong": f"{good[:-4]}0000"}


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_works(stage: Router, relay: CountingRelay, tmp_path: Path, program: str) -> None:
    command, clients = PROGRAMS[program]
    keys = {client: keys_for(stage, client) for client in clients}
    done = subprocess.run(
        command({"base": relay.url, "keys": keys}),
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=plain_environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4_000:]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for client, (provider, kinds) in clients.items():
        found = {line["case"]: line for line in told if line["client"] == client}
        assert [found["call"]["text"], found["stream"]["text"]] == [TEXT, TEXT], client
        assert (found["tool"]["name"], found["tool"]["arguments"]) == (TOOL, ARGUMENTS), client
        for case, status, kind, sentence in (
            ("wrong", 401, kinds.split()[0], "proxy key is damaged"),
            ("poor", 403, kinds.split()[-1], "may spend"),
        ):
            error = found[case]
            assert (error["kind"], error["status"]) == (kind, status), (client, error)
            assert sentence in error["message"], (client, error)
            assert relay.requests_with(keys[client][case]) == 1, (client, case)  # a retry would cure neither
        calls = relay.requests_with(keys[client]["good"])
        assert calls >= 3
        assert Decimal(own_spend(stage, keys[client]["good"])["spent_usd"]) == calls * COST[provider], client


def plain_environment(home: Path) -> dict[str, str]:
    """Nothing of this machine's that a client would act on: proxies, keys, addresses, caches."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANG": "C.UTF-8"}
