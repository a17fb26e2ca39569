"""A second upstream that is not ours: aimock, which speaks the wire forms of all three providers and is compared with
the real ones by its makers each day. It tells what its fixtures say, in pieces; `make clients` installs it.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from harness import ROOT, Json, Router, clean_environment, eventually, free_port
from machine import made
from raw_http import ledger_rows

PROGRAM = ROOT / "tests" / "clients" / "node" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
PIECE_CHARACTERS = 9  # so that names, arguments and thoughts come in several events

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a grey pixel

LOOKS = "Let me look that up for you."
THOUGHT = "They want the weather of Bern, so a tool is called for."
SIGNATURE, REDACTED = "c2lnbmF0dXJl", "cmVkYWN0ZWQ="
ARGUMENTS: Json = {"city": "Bern", "days": [1, 2, 3], "unit": "°C"}
TOLD = "It rains in Bern today, and tomorrow as well."
SEEN = "A single grey pixel."
COUNTED: Json = {
    "prompt_tokens": 41, "completion_tokens": 7,  # as OpenAI's API has them,
    "input_tokens": 41, "output_tokens": 7,  # Anthropic's,
    "promptTokenCount": 41, "candidatesTokenCount": 7,  # and Gemini's
}  # fmt: skip
TWO_CALLS = (("weather", ARGUMENTS), ("clock", {"zone": "Europe/Zurich"}))

CLAUDE, GPT, GEMINI = "claude-sonnet-4-6", "gpt-4o-mini", "gemini-2.5-flash"
SCHEMA: Json = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HOW = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


def _calls(*calls: tuple[str, Json]) -> list[Json]:
    return [
        {"id": f"call_{number}", "name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
        for number, (name, arguments) in enumerate(calls)
    ]


# By a word of the prompt: what is answered to it.
_ANSWERS: dict[str, Json] = {
    "thoughtful": {"content": LOOKS, "reasoning": THOUGHT, "reasoningSignature": SIGNATURE, "toolCalls": _calls(TWO_CALLS[0])},
    "hidden": {"content": TOLD, "reasoning": THOUGHT, "reasoningSignature": SIGNATURE, "redactedThinking": [REDACTED]},
    "silent": {"toolCalls": _calls(TWO_CALLS[0])},
    "both": {"content": LOOKS, "toolCalls": _calls(*TWO_CALLS)},
    "weather": {"content": LOOKS, "toolCalls": _calls(TWO_CALLS[0])},
    "picture": {"content": SEEN},
    "hurry": {"error": {"message": "Slow down, please.", "type": "rate_limit_error"}, "status": 429},
}  # fmt: skip
_FIXTURES: list[Json] = [
    {"match": {"hasToolResult": True}, "response": {"content": TOLD, "usage": COUNTED}},
    *({"match": {"userMessage": word}, "response": told | {"usage": COUNTED}} for word, told in _ANSWERS.items()),
]


class Aimock:
    """It runs at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def last(self) -> Json:
        """The last request that it has seen."""
        journal: list[Json] = requests.get(f"{self.url}/__aimock/journal", timeout=10).json()
        return journal[-1]


def booked(router: Router, key: tuple[str, str], count: int, provider: str) -> None:
    """At the figures that the upstream told."""
    router.wait_for_ledger(key[0], count)
    for row in ledger_rows(router, key[0]):
        told = (row["provider"], row["input_tokens"], row["output_tokens"], row["outcome"], row["flags"])
        assert told == (provider, COUNTED["input_tokens"], COUNTED["output_tokens"], "ok", [])


@contextmanager
def _running(folder: Path) -> Iterator[Aimock]:
    program = made("aimock, for Node", PROGRAM)
    fixtures, port = folder / "fixtures.json", free_port()
    fixtures.write_text(json.dumps({"fixtures": _FIXTURES}))
    options: list[Any] = ["--port", port, "--fixtures", fixtures, "--chunk-size", PIECE_CHARACTERS]
    command = ["node", program, *map(str, options), "--log-level", "silent", "--validate-on-load", "--strict"]
    with subprocess.Popen(command, cwd=folder, env=clean_environment(), stdin=subprocess.DEVNULL) as process:
        try:
            server = Aimock(f"http://127.0.0.1:{port}")
            eventually(lambda: _is_ready(server.url), 20, "a second upstream that is ready")
            yield server
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    with _running(tmp_path_factory.mktemp("aimock")) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def far(elsewhere: Aimock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router for which all three providers are there."""
    urls = {f"ROUTER_{name}_URL": elsewhere.url for name in ("OPENAI", "ANTHROPIC", "GEMINI")}
    router = Router(tmp_path_factory.mktemp("far") / "data", workers=1, **urls)
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
    assert router.leaks() == []
