"""Examples to copy: which there are for which key, and with which model. That they work is tried in tests/e2e."""

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest

from shared.catalog import PROVIDERS, known_models, provider_of_model
from shared.policy.rules import matches_model
from webapp.pages.snippets import build, left_out

BASE, SECRET = "http://p.example", "sk-proxy-a1b2"
# UX.md's table, and those that were added to it.
CLIENTS = {
    "openai", "anthropic", "gemini", "curl", "claude-code", "codex", "gemini-cli", "aider", "continue", "open-webui", "ai-sdk",
    "litellm", "opencode", "llm", "langchain", "node", "powershell",
}  # fmt: skip
MODEL = re.compile(r"\b(?:(?:gpt|claude|gemini|text-embedding)-[\w.-]*\w|o\d(?:-[\w-]+)?)\b")


def texts(
    providers: Sequence[str] = (), models: Sequence[str] = (), secret: str | None = None, **more: Any
) -> dict[str, str]:
    return {snippet.slug: snippet.text for snippet in build(BASE, secret, providers, models, **more)}


def models_in(text: str) -> set[str]:
    """Every model that an example names; a kind of login is none."""
    return set(MODEL.findall(text.replace("gemini-api-key", "")))


def test_it_works() -> None:
    found = texts()
    assert set(found) == CLIENTS
    assert next(iter(found)) == "openai"
    assert all(BASE in text for text in found.values())
    assert all(SECRET not in text and "sk-" not in text for text in found.values())
    assert all("ROUTER_KEY" in text for text in found.values())
    assert left_out((), ()) == ()


@pytest.mark.parametrize(
    ("providers", "models"),
    [
        ((), ("gpt-4o*",)),
        ((), ("claude-opus-*",)),
        (("gemini",), ()),
        (("openai", "anthropic"), ("anthropic/*", "gpt-5.3-codex")),
        (("anthropic",), ("*",)),
        ((), ("google/gemini-3*", "o3")),
        ((), ("text-embedding-*",)),
        ((), ("ft:gpt-4o:acme",)),
    ],
)
def test_examples_name_models_that_the_key_may_use_and_no_others(
    providers: Sequence[str], models: Sequence[str]
) -> None:
    found = texts(providers, models)
    assert found
    for slug, text in found.items():
        named = models_in(text) - {"gpt-4o"} if "ft:" in text else models_in(text)
        assert named or "ft:gpt-4o:acme" in text or slug == "claude-code", slug
        for name in named:
            provider, bare = provider_of_model(name) or ("", "")
            assert not providers or provider in providers, (slug, name)
            assert not models or any(matches_model(glob, provider, bare) for glob in models), (slug, name)
    told = {label for each in left_out(providers, models) for label in each.labels}
    labels = {snippet.label for snippet in build(BASE, None, providers, models)}
    assert len(told | labels) == len(CLIENTS)


def test_each_client_gets_a_model_of_its_dialect() -> None:
    both = texts((), ("claude-*", "gpt-4o*"))
    assert 'model="claude-haiku-4-5"' in both["anthropic"]
    assert 'model = "gpt-4o"' in both["codex"]
    assert 'model="gpt-4o-mini"' in both["openai"]
    assert not {"gemini", "gemini-cli"} & set(both)
    assert 'model="claude-opus-4-1"' in texts((), ("anthropic/claude-opus-4-1",))["openai"]
    assert 'model = "gpt-5.3-codex"' in texts()["codex"]
    for name in known_models("openai"):
        if re.search("embedding|image|audio|realtime|tts|transcribe|codex|-pro$|instruct", name):
            chat = texts((), (name,)).get("openai", '"MODEL"')
            assert '"MODEL"' in chat, f"{name} holds no conversation"


def test_claude_code_names_its_models_where_it_may_not_choose() -> None:
    assert "ANTHROPIC_MODEL" not in texts()["claude-code"]
    assert "ANTHROPIC_MODEL" not in texts((), ("claude-*",))["claude-code"]
    some = texts((), ("claude-haiku-*", "claude-sonnet-4-6"))["claude-code"]
    assert "export ANTHROPIC_MODEL=claude-sonnet-4-6\nexport ANTHROPIC_DEFAULT_HAIKU_MODEL=claude-haiku-4-5\n" in some
    one = texts((), ("claude-opus-4-8",))["claude-code"]
    assert one.count("claude-opus-4-8") == 2
    # The key of another account would be sent in the place of this one.
    assert "\nunset ANTHROPIC_API_KEY\n" in one


def test_who_is_left_out_is_told_why() -> None:
    def why(
        providers: Sequence[str] = (), models: Sequence[str] = (), configured: Sequence[str] = tuple(PROVIDERS)
    ) -> dict[str, str]:
        return {each.labels[0]: each.why for each in left_out(providers, models, configured=configured)}

    assert why(("openai",))["Python (Anthropic)"] == "Anthropic is not among the allowed providers"
    assert why((), (), ("openai",))["Python (Google)"] == "the router has no credential of Gemini that can be used"
    assert why((), ("gpt-4o*",)) == {
        "Python (Anthropic)": "no model of Anthropic that they can use is among the allowed models",
        "Python (Google)": "no model of Gemini that they can use is among the allowed models",
    }
    contradiction = why(("gemini",), ("gpt-4o*",))
    assert contradiction["Python (OpenAI)"].count("among the allowed") == 3
    assert '"MODEL"' in texts(("gemini",), ("gpt-4o*",))["openai"]


def test_only_providers_with_a_credential_are_called() -> None:
    assert 'model="claude-haiku-4-5"' in texts(configured=("anthropic",))["openai"]
    assert '"MODEL"' in texts(configured=())["curl"]


def test_a_key_for_embeddings_gets_an_example_of_those() -> None:
    found = texts((), ("text-embedding-3-*",))
    assert list(found) == ["curl"]
    assert "/v1/embeddings" in found["curl"]


def test_the_secret_is_set_before_each_where_it_is_shown_at_all() -> None:
    for slug, text in texts(secret=SECRET).items():
        first = text.splitlines()[1 if text.startswith("# in ") else 0]
        shape = {"powershell": f'$env:ROUTER_KEY = "{SECRET}"', "continue": f"ROUTER_KEY={SECRET}"}
        assert first == shape.get(slug, f"export ROUTER_KEY={SECRET}"), slug
        assert text.count(SECRET) == 1


def test_configurations_are_what_their_readers_can_read() -> None:
    found = texts()
    codex = tomllib.loads(found["codex"])
    assert codex["model_providers"][codex["model_provider"]] == {
        "name": "Enterprise Router", "base_url": f"{BASE}/v1", "env_key": "ROUTER_KEY", "wire_api": "responses",
    }  # fmt: skip
    fields = dict(re.findall(r"^ +-? ?(\w+): (.+)$", found["continue"], re.MULTILINE))
    told = fields["apiBase"], fields["apiKey"], fields["provider"], fields["model"]
    assert told == (f"{BASE}/v1", "${{ secrets.ROUTER_KEY }}", "openai", "gpt-4o-mini")
    opencode = json.loads(found["opencode"].partition("<<'END'\n")[2].partition("\nEND\n")[0])
    assert opencode["provider"]["router"]["options"] == {"baseURL": f"{BASE}/v1", "apiKey": "{env:ROUTER_KEY}"}
    assert opencode["model"].removeprefix("router/") in opencode["provider"]["router"]["models"]


HOSTILE = ("gpt-4o$(id)", "gpt-`id`", "gpt-4o'; id", 'gpt-"x', "gpt-4o\nid", "gpt-4o;id")


@pytest.mark.parametrize("pattern", HOSTILE)
def test_nothing_that_a_shell_would_run_comes_from_a_pattern(pattern: str) -> None:
    """Patterns are judged before they are stored; this holds also for what was stored otherwise."""
    assert all(pattern not in text for text in texts((), (pattern,)).values())
