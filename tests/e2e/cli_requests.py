"""The first requests of the coding tools that people point at a router: method, path, headers and shape of the body.

Facts of November 2026 only, from the tools' own sources and from recorded traffic: Claude Code 2.1 (its requests are
described at code.claude.com/docs/en/llm-gateway-protocol), Codex 0.9x (`codex-rs/codex-api/src/common.rs`), Gemini CLI
0.2x (`packages/core/src/core/contentGenerator.ts`) and opencode 1.x (`packages/opencode/src/session/llm`). The texts in
them are filler of about the real length.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # stand-ins for programs import this, and the harness would take them a second each
    from harness import Json

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24"
CLAUDE, CODEX, GEMINI = "claude-opus-4-8", "gpt-5.3-codex", "gemini-2.5-pro"


@dataclass(frozen=True)
class Call:
    """One request of a tool."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


def words(count: int) -> str:
    """Filler of so many bytes."""
    return ("word " * (count // 5 + 1))[:count]


def claude_code(key: str, **fields: Any) -> Call:
    """A turn of Claude Code: bearer token, beta in the query, a cached system prompt, twenty tools, streamed."""
    cached = {"cache_control": {"type": "ephemeral"}}
    body: Json = {
        "model": CLAUDE,
        "messages": [{"role": "user", "content": [{"type": "text", "text": words(900)}, {"type": "text", "text": "hello", **cached}]}],
        "system": [{"type": "text", "text": words(80)}, {"type": "text", "text": words(60), **cached}, {"type": "text", "text": words(12_000), **cached}],
        "tools": [{"name": f"Tool{n}", "description": words(1_000), "input_schema": SCHEMA} for n in range(20)],
        "metadata": {"user_id": json.dumps({"device_id": "0" * 64, "account_uuid": "", "session_id": "0" * 36})},
        "max_tokens": 64_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }  # fmt: skip
    return Call("POST", "/v1/messages?beta=true", _of_claude_code(key), json.dumps({**body, **fields}).encode())


def _of_claude_code(key: str) -> dict[str, str]:
    return {
        "accept": "application/json", "accept-encoding": "gzip, deflate, br, zstd", "anthropic-beta": BETAS,
        "anthropic-dangerous-direct-browser-access": "true", "anthropic-version": "2023-06-01",
        "authorization": f"Bearer {key}", "content-type": "application/json", "user-agent": "claude-cli/2.1.177 (external, cli)",
        "x-app": "cli", "x-claude-code-session-id": "0" * 36, "x-stainless-lang": "js", "x-stainless-retry-count": "0",
        "x-stainless-runtime": "node", "x-stainless-timeout": "600",
    }  # fmt: skip


def claude_code_start(key: str) -> list[Call]:
    """What comes before the first turn: a probe, the models of a gateway, a one-token request, a title as JSON."""
    small: Json = {"model": "claude-haiku-4-5-20251001", "tools": [], "context_management": None}
    title = {
        "format": {"type": "json_schema", "schema": {"type": "object", "properties": {"title": {"type": "string"}}}}
    }
    headers = _of_claude_code(key)
    count = json.loads(claude_code(key).body)
    counted = {name: count[name] for name in ("model", "messages", "tools")}
    return [
        Call("HEAD", "/", {"user-agent": headers["user-agent"]}),
        Call("GET", "/v1/models?limit=1000", headers),
        claude_code(
            key, **small, max_tokens=1, system=[], messages=[{"role": "user", "content": "quota"}], stream=False
        ),
        claude_code(key, **small, max_tokens=32_000, output_config=title),
        Call("POST", "/v1/messages/count_tokens?beta=true", headers, json.dumps(counted).encode()),
    ]


def codex(key: str, *, searches: bool = False, **fields: Any) -> Call:
    """A turn of Codex: Responses, nothing stored, no output limit, functions and one tool with a grammar."""
    names = ("exec_command", "write_stdin", "update_plan", "request_user_input", "view_image")
    tools: list[Json] = [
        {"type": "function", "name": name, "description": words(300), "strict": False, "parameters": SCHEMA}
        for name in names
    ]
    tools += [
        {"type": "custom", "name": "apply_patch", "description": words(100), "format": {"type": "grammar", "syntax": "lark", "definition": words(700)}},
        {"type": "tool_search", "execution": "client", "description": words(200), "parameters": SCHEMA},
    ]  # fmt: skip
    if searches:
        tools.append({"type": "web_search", "external_web_access": False})
    body: Json = {
        "model": CODEX,
        "instructions": words(14_000),
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": words(3_000)}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        ],
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0" * 36,
        "text": {"verbosity": "low"},
    }
    headers = {
        "accept": "text/event-stream", "authorization": f"Bearer {key}", "content-type": "application/json",
        "originator": "codex_cli_rs", "session_id": "0" * 36, "user-agent": "codex_cli_rs/0.98.0 (Linux; x86_64)", "version": "0.98.0",
    }  # fmt: skip
    return Call("POST", "/v1/responses", headers, json.dumps({**body, **fields}).encode())


def codex_start(key: str) -> list[Call]:
    return [Call("GET", "/v1/models?client_version=0.98.0", codex(key).headers)]


def gemini_cli(key: str, **fields: Any) -> Call:
    """A turn of Gemini CLI: its SDK's headers, functions by JSON schema, thoughts asked for."""
    declared = [{"name": f"tool_{n}", "description": words(900), "parametersJsonSchema": SCHEMA} for n in range(14)]
    body: Json = {
        "contents": [{"role": "user", "parts": [{"text": words(6_000)}]}, {"role": "user", "parts": [{"text": "hello"}]}],
        "systemInstruction": {"role": "user", "parts": [{"text": words(20_000)}]},
        "tools": [{"functionDeclarations": declared}],
        "generationConfig": {"temperature": 1, "topP": 0.95, "topK": 64, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 8_192}},
    }  # fmt: skip
    path = f"/v1beta/models/{GEMINI}:streamGenerateContent?alt=sse"
    return Call("POST", path, _of_gemini_cli(key), json.dumps({**body, **fields}).encode())


def _of_gemini_cli(key: str) -> dict[str, str]:
    return {
        "content-type": "application/json", "user-agent": f"GeminiCLI/0.24.0/{GEMINI} (linux; x64; terminal)",
        "x-gemini-api-privileged-user-id": "0" * 36, "x-goog-api-client": "google-genai-sdk/1.30.0 gl-node/v22.14.0", "x-goog-api-key": key,
    }  # fmt: skip


def gemini_cli_start(key: str) -> list[Call]:
    """The choice of a model by a small one, as JSON, and a search that the tool of that name makes."""
    chosen = {"temperature": 0, "maxOutputTokens": 1_024, "responseMimeType": "application/json", "responseJsonSchema": SCHEMA, "thinkingConfig": {"thinkingBudget": 512}}  # fmt: skip
    contents = [{"role": "user", "parts": [{"text": words(2_000)}]}]
    route = {"contents": contents, "systemInstruction": {"parts": [{"text": words(4_000)}]}, "generationConfig": chosen}
    search = {"contents": contents, "tools": [{"googleSearch": {}}], "generationConfig": {"temperature": 0, "topP": 1}}
    return [
        Call("POST", f"/v1beta/models/{model}:generateContent", _of_gemini_cli(key), json.dumps(body).encode())
        for model, body in (("gemini-2.5-flash-lite", route), ("gemini-2.5-flash", search))
    ]


def opencode(key: str, **fields: Any) -> Call:
    """A turn of opencode with a provider that is compatible with OpenAI, as its configuration names a router."""
    functions = [
        {"type": "function", "function": {"name": f"tool{n}", "description": words(900), "parameters": SCHEMA}}
        for n in range(12)
    ]
    body: Json = {
        "model": "gpt-5.2",
        "max_tokens": 32_000,
        "messages": [{"role": "system", "content": words(9_000)}, {"role": "user", "content": "hello"}],
        "tools": functions,
        "tool_choice": "auto",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "user-agent": "opencode/1.2.0 ai-sdk/provider-utils/4.0.0 runtime/bun/1.3"}  # fmt: skip
    return Call("POST", "/v1/chat/completions", headers, json.dumps({**body, **fields}).encode())


def opencode_start(key: str) -> list[Call]:
    """A title by a small model of Anthropic's, through its own SDK."""
    body = {
        "model": "claude-haiku-4-5", "max_tokens": 32_000, "stream": True,
        "system": [{"type": "text", "text": words(900), "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}],
    }  # fmt: skip
    headers = {
        "anthropic-beta": "interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14", "anthropic-version": "2023-06-01",
        "content-type": "application/json", "user-agent": "opencode/1.2.0 ai-sdk/anthropic/3.0.0", "x-api-key": key,
    }  # fmt: skip
    return [Call("POST", "/v1/messages", headers, json.dumps(body).encode())]


STARTS: dict[str, Callable[[str], list[Call]]] = {
    "Claude Code": claude_code_start, "Codex": codex_start, "Gemini CLI": gemini_cli_start, "opencode": opencode_start,
}  # fmt: skip
TURNS: dict[str, Callable[..., Call]] = {
    "Claude Code": claude_code, "Codex": codex, "Gemini CLI": gemini_cli, "opencode": opencode,
}  # fmt: skip
