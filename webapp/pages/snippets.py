"""Examples to copy for each client, with the proxy's own address and a model that the key may use.

The texts are in `snippet_texts`; here is decided which of them a key can use, and with which model. With a secret each
example begins by setting ROUTER_KEY to it; without one it only names the variable.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from shared.catalog import PROVIDERS, known_models, provider_of_model
from shared.policy.rules import matches_model
from webapp.pages import snippet_texts as texts

# Small, current models: a first request should cost next to nothing.
_FAVOURITES = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
_FOR_CODEX = "gpt-5.3-codex"  # older families lack what Codex asks of a model
_FOR_CLAUDE_CODE = "claude-sonnet-4-6"
_EMBEDDING = "text-embedding-3-small"
_UNKNOWN = "MODEL"
# What the price table has and no conversation can be held with, or not by text, or at other endpoints alone.
_NO_CHAT = re.compile(
    r"embedding|image|audio|realtime|tts|transcribe|whisper|translate|\blive\b|instruct|robotics|omni|banana|gpt-oss"
)
_RESPONSES_ONLY = re.compile(r"(?:o\d|gpt-).*-(?:pro|codex|deep-research)\b")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]*")  # in a shell and in a script

Dialect = Literal["chat", "responses", "messages", "generate"]
# Whose models are reached by it; there are chat completions of all of them.
_REACHES: dict[Dialect, tuple[str, ...]] = {
    "chat": tuple(PROVIDERS),
    "responses": ("openai",),
    "messages": ("anthropic",),
    "generate": ("gemini",),
}
_SHELL = "export ROUTER_KEY={}"
_NO_OWN: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snippet:
    """One tab; `slug` stands in ids of the page."""

    slug: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Clients that the key cannot serve, and why."""

    labels: tuple[str, ...]
    why: str


class _Client(NamedTuple):
    slug: str
    label: str
    dialect: Dialect
    text: Callable[[str, str], str]
    key: str = _SHELL  # how the key is set before it
    favourite: str | None = None


_CLIENTS = (
    _Client("openai", "Python (OpenAI)", "chat", texts.openai),
    _Client("curl", "curl", "chat", texts.curl),
    _Client("anthropic", "Python (Anthropic)", "messages", texts.anthropic),
    _Client("claude-code", "Claude Code", "messages", texts.claude_code, favourite=_FOR_CLAUDE_CODE),
    _Client("gemini", "Python (Google)", "generate", texts.gemini),
    _Client("gemini-cli", "Gemini CLI", "generate", texts.gemini_cli),
    _Client("codex", "Codex CLI", "responses", texts.codex, f"# in the shell\n{_SHELL}", _FOR_CODEX),
    _Client("node", "Node.js", "chat", texts.node),
    _Client("ai-sdk", "Vercel AI SDK", "chat", texts.ai_sdk),
    _Client("langchain", "LangChain", "chat", texts.langchain),
    _Client("litellm", "litellm", "chat", texts.litellm),
    _Client("llm", "llm", "chat", texts.llm),
    _Client("opencode", "opencode", "chat", texts.opencode),
    _Client("aider", "Aider", "chat", texts.aider),
    _Client("continue", "Continue", "chat", texts.continue_dev, "# in ~/.continue/.env\nROUTER_KEY={}"),
    _Client("open-webui", "Open WebUI", "chat", texts.open_webui),
    _Client("powershell", "PowerShell", "chat", texts.powershell, '$env:ROUTER_KEY = "{}"'),
)


def build(
    base: str,
    secret: str | None,
    providers: Sequence[str],
    models: Sequence[str],
    *,
    configured: Collection[str] = tuple(PROVIDERS),
    own: Mapping[str, Sequence[str]] = _NO_OWN,
) -> tuple[Snippet, ...]:
    """An example for each client that a key can serve. `base` is the proxy's address without a path.

    `providers` and `models` are the key's own restrictions, `configured` the providers whose credential can be used. A
    word stands in the place of a model that nobody can tell; a key for embeddings alone gets an example of those.
    `own` are the known models of the organisation's own providers that can be used, where no other model can be.
    """
    usable = [slug for slug in PROVIDERS if slug in configured and (not providers or slug in providers)]
    chosen = [(client, _model_for(client, usable, models)) for client in _CLIENTS]
    if (ours := _own_example(providers, models, own)) is not None:
        chosen = [(client, model or (ours if client.dialect == "chat" else None)) for client, model in chosen]
    if not any(model for client, model in chosen if client.dialect == "chat"):
        if "openai" in usable and (model := _example("openai", models, _EMBEDDING, _embeds)) is not None:
            text = texts.curl_embeddings(base, model)
            return (Snippet("curl", "curl", _with_key(text, _SHELL, secret)),)
        chosen = [(client, _UNKNOWN if client.dialect == "chat" else model) for client, model in chosen]
    found = []
    for client, model in chosen:
        if model is not None:
            text = _claude_code(base, model, models) if client.slug == "claude-code" else client.text(base, model)
            found.append(Snippet(client.slug, client.label, _with_key(text, client.key, secret)))
    return tuple(found)


def left_out(
    providers: Sequence[str],
    models: Sequence[str],
    *,
    configured: Collection[str] = tuple(PROVIDERS),
    own: Mapping[str, Sequence[str]] = _NO_OWN,
) -> tuple[LeftOut, ...]:
    """The clients of which `build` makes no example, with the reason."""
    found = []
    for dialect, slugs in _REACHES.items():
        labels = tuple(client.label for client in _CLIENTS if client.dialect == dialect)
        reasons = [_why_not(slug, dialect, providers, models, configured) for slug in slugs]
        reached = dialect == "chat" and _own_example(providers, models, own) is not None
        if None not in reasons and not reached:
            found.append(LeftOut(labels, "; ".join(filter(None, reasons))))
    return tuple(found)


def _why_not(
    slug: str, dialect: Dialect, providers: Sequence[str], models: Sequence[str], configured: Collection[str]
) -> str | None:
    """Why no model of a provider can be reached in a dialect; None: one can."""
    label = PROVIDERS[slug].label
    if providers and slug not in providers:
        return f"{label} is not among the allowed providers"
    if slug not in configured:
        return f"the router has no credential of {label} that can be used"
    if _example(slug, models, None, _fit(dialect)) is None:
        return f"no model of {label} that they can use is among the allowed models"
    return None


def _model_for(client: _Client, usable: Sequence[str], models: Sequence[str]) -> str | None:
    """Of the first provider that has one which the client can use."""
    for slug in _REACHES[client.dialect]:
        if slug in usable:
            favourite = client.favourite or _FAVOURITES[slug]
            if (model := _example(slug, models, favourite, _fit(client.dialect))) is not None:
                return model
    return None


def _example(slug: str, patterns: Sequence[str], favourite: str | None, fit: Callable[[str], bool]) -> str | None:
    """The favourite model of a provider if the key may use it, else the first known one that it may.

    Else one that its patterns name outright although nobody here knows it, such as a fine-tuned one.
    """
    outright = (provider_of_model(pattern) for pattern in patterns if _SAFE.fullmatch(pattern))
    named = [found[1] for found in outright if found is not None and found[0] == slug]
    for name in (*filter(None, (favourite,)), *known_models(slug), *named):
        allowed = not patterns or any(matches_model(pattern, slug, name) for pattern in patterns)
        if allowed and fit(name):
            return name
    return None


def _own_example(providers: Sequence[str], patterns: Sequence[str], own: Mapping[str, Sequence[str]]) -> str | None:
    """A model of one of the organisation's own providers, its name before it; a word where none is known by name."""
    for slug, known in own.items():
        if providers and slug not in providers:
            continue
        outright = [
            one.removeprefix(f"{slug}/") for one in patterns if one.startswith(f"{slug}/") and _SAFE.fullmatch(one)
        ]
        for name in (*known, *outright):
            if _SAFE.fullmatch(name) and (not patterns or any(matches_model(one, slug, name) for one in patterns)):
                return f"{slug}/{name}"
        if not known and (not patterns or any(one.startswith(f"{slug}/") for one in patterns)):
            return f"{slug}/{_UNKNOWN}"
    return None


def _fit(dialect: Dialect) -> Callable[[str], bool]:
    return _talks if dialect != "chat" else lambda name: _talks(name) and not _RESPONSES_ONLY.match(name)


def _talks(name: str) -> bool:
    return _NO_CHAT.search(name) is None


def _embeds(name: str) -> bool:
    return "embedding" in name


def _claude_code(base: str, model: str, models: Sequence[str]) -> str:
    """With the models named where the key may not use all of them: it has several in use by itself."""
    known = known_models("anthropic")
    if not models or all(any(matches_model(glob, "anthropic", name) for glob in models) for name in known):
        return texts.claude_code(base)
    small = _example("anthropic", models, _FAVOURITES["anthropic"], _talks) or model
    return texts.claude_code(base, model, small)


def _with_key(text: str, line: str, secret: str | None) -> str:
    return text if secret is None else f"{line.format(secret)}\n\n{text}"
