"""First requests to copy, with the proxy's own address and the key just made."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.catalog import PROVIDERS, known_models
from shared.policy.rules import matches_model

# Small, current models: a first request should cost next to nothing.
_FAVOURITES = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
_FOR_CODEX = "gpt-5.3-codex"  # older families lack what Codex asks of a model


@dataclass(frozen=True, slots=True)
class Snippet:
    """One tab. `slug` is known to app.css, which shows the chosen one."""

    slug: str
    label: str
    text: str


def build(base: str, secret: str, providers: Sequence[str], models: Sequence[str]) -> tuple[Snippet, ...]:
    """A snippet for each kind of client this key can serve. `base` is the proxy's address without a path.

    `providers` and `models` are the key's own restrictions; an example names a model that the key may use.
    """
    example = {slug: _example(slug, models) for slug in PROVIDERS if not providers or slug in providers}
    usable = {slug: model for slug, model in example.items() if model is not None}
    any_model = next(iter(usable.values()), None) or "MODEL"
    snippets = [
        Snippet("openai", "OpenAI SDK", _openai(base, secret, any_model)),
        Snippet("curl", "curl", _curl(base, secret, any_model)),
    ]
    if (model := usable.get("anthropic")) is not None:
        snippets.append(Snippet("anthropic", "Anthropic SDK", _anthropic(base, secret, model)))
        snippets.append(Snippet("claude-code", "Claude Code", _claude_code(base, secret)))
    if (model := usable.get("gemini")) is not None:
        snippets.append(Snippet("gemini", "Google Gen AI", _gemini(base, secret, model)))
    if "openai" in usable and (model := _example("openai", models, _FOR_CODEX)) is not None:
        snippets.append(Snippet("codex", "Codex CLI", _codex(base, secret, model)))
    snippets.append(Snippet("tools", "Other tools", _tools(base, secret)))
    return tuple(snippets)


def _example(provider: str, patterns: Sequence[str], favourite: str | None = None) -> str | None:
    """The favourite model of a provider if the key may use it, else the first known one that it may."""
    names = (*filter(None, (favourite or _FAVOURITES.get(provider),)), *known_models(provider))
    allowed = (n for n in names if not patterns or any(matches_model(p, provider, n) for p in patterns))
    return next(allowed, None)


def _openai(base: str, secret: str, model: str) -> str:
    return f"""export OPENAI_BASE_URL={base}/v1
export OPENAI_API_KEY={secret}

# pip install openai
python3 - <<'END'
from openai import OpenAI
answer = OpenAI().chat.completions.create(
    model="{model}", messages=[{{"role": "user", "content": "Say hello"}}]
)
print(answer.choices[0].message.content)
END"""


def _curl(base: str, secret: str, model: str) -> str:
    return f"""export ROUTER_KEY={secret}

curl {base}/v1/chat/completions \\
  -H "Authorization: Bearer $ROUTER_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello"}}]}}'"""


def _anthropic(base: str, secret: str, model: str) -> str:
    return f"""# The base address ends without /v1: the SDK adds it.
export ANTHROPIC_BASE_URL={base}
export ANTHROPIC_API_KEY={secret}

# pip install anthropic
python3 - <<'END'
from anthropic import Anthropic
answer = Anthropic().messages.create(
    model="{model}", max_tokens=100, messages=[{{"role": "user", "content": "Say hello"}}]
)
print(answer.content[0].text)
END"""


def _claude_code(base: str, secret: str) -> str:
    return f"""# A key of Anthropic's own that is still set would be sent beside this one.
unset ANTHROPIC_API_KEY
export ANTHROPIC_BASE_URL={base}
export ANTHROPIC_AUTH_TOKEN={secret}
claude"""


def _gemini(base: str, secret: str, model: str) -> str:
    return f"""# pip install google-genai
python3 - <<'END'
from google import genai
client = genai.Client(api_key="{secret}", http_options={{"base_url": "{base}/gemini"}})
print(client.models.generate_content(model="{model}", contents="Say hello").text)
END"""


def _codex(base: str, secret: str, model: str) -> str:
    return f"""# in ~/.codex/config.toml
model = "{model}"
model_provider = "router"

[model_providers.router]
name = "Enterprise Router"
base_url = "{base}/v1"
env_key = "ROUTER_KEY"
wire_api = "responses"

# in the shell
export ROUTER_KEY={secret}"""


def _tools(base: str, secret: str) -> str:
    return f"""# Aider
export OPENAI_API_BASE={base}/v1 OPENAI_API_KEY={secret}
# Open WebUI
export OPENAI_API_BASE_URL={base}/v1 OPENAI_API_KEY={secret}
# Continue: apiBase    Vercel AI SDK: createOpenAI({{ baseURL }})
{base}/v1"""
