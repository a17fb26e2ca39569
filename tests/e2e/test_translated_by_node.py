"""The official SDKs for Node and the models of other providers, before an upstream that is not ours."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from aimock_kit import ARGUMENTS, LOOKS, PNG, THOUGHT, TOLD
from harness import ROOT, Router
from machine import made

pytestmark = pytest.mark.slow
# Each SDK with a model of another provider: what is asked of it, and what it thinks.
BY_NODE = {
    "openai chat claude": ("thoughtful weather", THOUGHT),
    "openai responses claude": ("thoughtful weather", THOUGHT),
    "openai responses gemini": ("weather", ""),
    "openai chat gemini": ("weather", ""),
    "anthropic gpt": ("weather", ""),
    "anthropic gemini": ("weather", ""),
    "google gemini": ("thoughtful weather", THOUGHT),
    "google claude": ("thoughtful weather", THOUGHT),
    "google gpt": ("weather", ""),
}


def test_the_sdks_for_node(far: Router, tmp_path: Path) -> None:
    """Each has the tool called after a look at a picture, whole and in a stream, and gives the result back."""
    _, key = far.create_key(name="by Node", spend_limit_usd="5")
    program = ROOT / "tests" / "clients" / "node" / "translated.mjs"
    made("the clients for Node", program.parent / "node_modules" / "openai" / "package.json")
    given = {
        "base": far.proxy_url,
        "key": key,
        "png": PNG,
        "asked": {name: asked for name, (asked, _) in BY_NODE.items()},
    }
    done = subprocess.run(
        ["node", str(program), json.dumps(given)],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4_000:]
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted((one["client"], one["streamed"]) for one in told) == sorted(
        (name, streamed) for name in BY_NODE for streamed in (False, True)
    )
    for one in told:
        call = {"name": "weather", "arguments": ARGUMENTS}
        thought = BY_NODE[one["client"]][1]
        assert (one["text"], one["calls"], one["thought"], one["last"]) == (LOOKS, [call], thought, TOLD), one
