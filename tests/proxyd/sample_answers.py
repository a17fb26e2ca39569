"""Answers as the providers send them, and what each costs by hand: the providers' published rates, in dollars.

`cost` is an expression of decimals that nobody but a person wrote. Rates are those of 25 November 2026, per million
tokens (M) and per thousand calls (K).
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

D = Decimal
M = D(1_000_000)
K = D(1_000)


@dataclass(frozen=True)
class Sample:
    """One answer to one request."""

    name: str
    provider: str
    path: str
    request: dict[str, Any]
    answer: dict[str, Any]
    cost: Decimal
    flags: tuple[str, ...] = field(default=())


def chat(model: str, usage: dict[str, Any], **request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    message = {"role": "assistant", "content": "Some words of an answer."}
    return {"model": model, "messages": [], **request}, {
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }


def response(model: str, items: list[Any], tools: list[Any], **answer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    usage = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
    text = {"type": "message", "content": [{"type": "output_text", "text": "Some words."}]}
    return {"model": model, "input": "x", "tools": tools}, {
        "model": model,
        "status": "completed",
        "output": [*items, text],
        "usage": usage,
        **answer,
    }


def messages(model: str, usage: dict[str, Any], **request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"model": model, "max_tokens": 100, "messages": [], **request}, {
        "type": "message",
        "model": model,
        "content": [{"type": "text", "text": "Some words of an answer."}],
        "usage": usage,
    }


def generate(model: str, usage: dict[str, Any], grounding: Any = None, **request: Any) -> tuple[Any, Any]:
    candidate = {"content": {"parts": [{"text": "Some words."}]}, "finishReason": "STOP", "index": 0}
    if grounding is not None:
        candidate["groundingMetadata"] = grounding
    answer = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
    return {"contents": [{"parts": [{"text": "x"}]}], **request}, answer


CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
SEARCHES = [
    {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "a"}},
    {"type": "web_search_call", "status": "completed", "action": {"type": "open_page", "url": "u"}},
    {"type": "web_search_call", "status": "completed", "action": {"type": "find_in_page", "pattern": "p"}},
    {"type": "web_search_call", "status": "failed", "action": {"type": "search", "query": "b"}},
]
TEXT_ONLY = {"promptTokenCount": 300, "candidatesTokenCount": 10, "totalTokenCount": 310}
FLASH = D(300) * D("0.30") / M + D(10) * D("2.50") / M
PRO3 = D(300) * D(2) / M + D(10) * D(12) / M
GPT5 = D(1_000) * D("1.25") / M + D(100) * D(10) / M
GPT41 = D(1_000) * D(2) / M + D(100) * D(8) / M


def gemini(model: str, method: str = "generateContent") -> str:
    return f"/v1beta/models/{model}:{method}"


SAMPLES = [
    Sample(
        "cached input and reasoning", "openai", CHAT,
        *chat(
            "gpt-5",
            {
                "prompt_tokens": 2_000, "completion_tokens": 500, "total_tokens": 2_500,
                "prompt_tokens_details": {"cached_tokens": 1_500},
                "completion_tokens_details": {"reasoning_tokens": 400},
            },
        ),
        D(500) * D("1.25") / M + D(1_500) * D("0.125") / M + D(500) * D(10) / M,
    ),
    # P1: sound without a rate of its own costs what other models of the provider ask for it, at most 80 a million.
    Sample(
        "sound without a rate", "openai", CHAT,
        *chat(
            "gpt-4o-audio-preview",
            {
                "prompt_tokens": 17, "completion_tokens": 1_000, "total_tokens": 1_017,
                "completion_tokens_details": {"audio_tokens": 900, "text_tokens": 100},
            },
            modalities=["text", "audio"],
        ),
        D(17) * D("2.5") / M + D(100) * D(10) / M + D(900) * D(80) / M,
        ("unknown_class",),
    ),
    Sample(
        "sound with a rate", "openai", CHAT,
        *chat(
            "gpt-audio",
            {
                "prompt_tokens": 100, "completion_tokens": 100, "total_tokens": 200,
                "prompt_tokens_details": {"audio_tokens": 60},
                "completion_tokens_details": {"audio_tokens": 90},
            },
        ),
        D(40) * D("2.5") / M + D(60) * D(32) / M + D(10) * D(10) / M + D(90) * D(64) / M,
    ),
    Sample(
        "a class of tokens that is new", "openai", CHAT,
        *chat(
            "gpt-4o",
            {
                "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
                "completion_tokens_details": {"hologram_tokens": 4},
            },
        ),
        D(10) * D("2.5") / M + D(20) * D(10) / M,
        ("unknown_class",),
    ),
    # P4: the model searches before every answer, and names no tool.
    Sample(
        "a model that always searches", "openai", CHAT,
        *chat("gpt-4o-search-preview", {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}),
        D(10) * D("2.5") / M + D(20) * D(10) / M + D(1) * D(25) / K,
    ),
    Sample(
        "only searches are billed, and only those that came to an end", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search"}]),
        GPT5 + D(1) * D(10) / K,
    ),
    Sample(
        "the provider says how many", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search"}], tool_usage={"web_search": {"num_requests": 3}}),
        GPT5 + D(3) * D(10) / K,
    ),
    Sample(
        "the provider says that none was billed", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search"}], tool_usage={"web_search": {"num_requests": 0}}),
        GPT5,
    ),
    Sample(
        "the older search on a model that does not reason", "openai", RESPONSES,
        *response("gpt-4.1", SEARCHES, [{"type": "web_search_preview"}]),
        GPT41 + D(1) * D(25) / K,
    ),
    Sample(
        "the older search on a model that reasons", "openai", RESPONSES,
        *response("gpt-5", SEARCHES, [{"type": "web_search_preview_2025_03_11"}]),
        GPT5 + D(1) * D(10) / K,
    ),
    Sample(
        "a search on a model whose entry has no fee", "openai", RESPONSES,
        *response("gpt-5.3-codex", SEARCHES[:1], [{"type": "web_search"}]),
        D(1_000) * D("1.75") / M + D(100) * D(14) / M + D(1) * D(10) / K,
    ),
    Sample(
        "files are searched", "openai", RESPONSES,
        *response("gpt-5", [{"type": "file_search_call", "status": "completed"}] * 2, [{"type": "file_search"}]),
        GPT5 + D(2) * D("2.50") / K,
    ),
    Sample(
        "code is run in a container", "openai", RESPONSES,
        *response("gpt-5", [{"type": "code_interpreter_call", "status": "completed"}], [{"type": "code_interpreter"}]),
        GPT5,
        ("unpriced_tool",),
    ),
    Sample(
        "a picture, painted by nobody knows whom", "openai", RESPONSES,
        *response("gpt-5", [{"type": "image_generation_call", "status": "completed"}], [{"type": "image_generation"}]),
        GPT5,
        ("unpriced_tool",),
    ),
    Sample(
        "a picture, painted by a model that is named", "openai", RESPONSES,
        *response(
            "gpt-5",
            [{"type": "image_generation_call", "status": "completed"}],
            [{"type": "image_generation", "model": "gpt-image-2"}],
            tool_usage={
                "image_gen": {
                    "input_tokens": 50, "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
                    "output_tokens": 4_000, "total_tokens": 4_050,
                }
            },
        ),
        GPT5 + D(50) * D(5) / M + D(4_000) * D(30) / M,
    ),
    Sample(
        "in the background", "openai", RESPONSES,
        {"model": "gpt-5", "input": "x", "background": True},
        {"model": "gpt-5", "status": "queued", "output": [], "usage": None},
        D(0),
        ("unmetered",),
    ),
    # P6
    Sample(
        "a tuned model", "openai", CHAT,
        *chat(
            "ft:gpt-4.1-2025-04-14:org::abc",
            {
                "prompt_tokens": 1_000, "completion_tokens": 10, "total_tokens": 1_010,
                "prompt_tokens_details": {"cached_tokens": 400},
            },
        ),
        D(600) * D(3) / M + D(400) * D("0.75") / M + D(10) * D(12) / M,
    ),
    Sample(
        "a tuned small model", "openai", CHAT,
        *chat(
            "ft:gpt-4.1-mini-2025-04-14:org::abc", {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        ),
        D(100) * D("0.8") / M + D(10) * D("3.2") / M,
    ),
    Sample(
        "embeddings", "openai", "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": "x"},
        {"model": "text-embedding-3-small", "data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        D(8) * D("0.02") / M,
    ),
    Sample(
        "all classes of a cache", "anthropic", MESSAGES,
        *messages(
            "claude-opus-4-8",
            {
                "input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 300,
                "cache_creation_input_tokens": 500,
                "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 300},
                "server_tool_use": {"web_search_requests": 2},
            },
        ),
        D(10) * D(5) / M + D(300) * D("0.5") / M + D(200) * D("6.25") / M + D(300) * D(10) / M
        + D(20) * D(25) / M + D(2) * D(10) / K,
    ),
    # P3: the figures at the top leave the summary out.
    Sample(
        "a summary of the conversation", "anthropic", MESSAGES,
        *messages(
            "claude-opus-4-8",
            {
                "input_tokens": 23_000, "output_tokens": 1_000,
                "iterations": [
                    {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500},
                    {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
                ],
            },
        ),
        D(23_000) * D(5) / M + D(1_000) * D(25) / M + D(180_000) * D(5) / M + D(3_500) * D(25) / M,
    ),
    Sample(
        "advice of a dearer model, and a second prompt that the top leaves out", "anthropic", MESSAGES,
        *messages(
            "claude-haiku-4-5",
            {
                "input_tokens": 412, "output_tokens": 531, "cache_read_input_tokens": 0,
                "iterations": [
                    {"type": "message", "input_tokens": 412, "output_tokens": 89},
                    {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 823, "output_tokens": 1_612},
                    {
                        "type": "message", "input_tokens": 1_348, "cache_read_input_tokens": 412,
                        "output_tokens": 442,
                    },
                ],
            },
        ),
        D(412 + 1_348) * D(1) / M + D(412) * D("0.1") / M + D(531) * D(5) / M
        + D(823) * D(5) / M + D(1_612) * D(25) / M,
    ),
    Sample(
        "a hop that declined costs nothing, the one that answered its own rates", "anthropic", MESSAGES,
        *messages(
            "claude-opus-4-8",
            {
                "input_tokens": 100, "output_tokens": 10,
                "iterations": [
                    {"type": "message", "model": "claude-opus-5", "input_tokens": 100, "output_tokens": 0},
                    {"type": "fallback_message", "model": "claude-opus-4-8", "input_tokens": 100, "output_tokens": 10},
                ],
            },
        ),
        D(100) * D(5) / M + D(10) * D(25) / M,
    ),
    Sample(
        "code is run where it is not free", "anthropic", MESSAGES,
        messages("claude-opus-4-8", {})[0],
        {
            "model": "claude-opus-4-8",
            "content": [{"type": "server_tool_use", "name": "bash_code_execution", "input": {"command": "ls"}}],
            "usage": {"input_tokens": 10, "output_tokens": 20},
        },
        D(10) * D(5) / M + D(20) * D(25) / M,
        ("unpriced_tool",),
    ),
    # P2: the list is named otherwise with embeddings.
    Sample(
        "a film is embedded", "gemini", gemini("gemini-embedding-2", "embedContent"),
        {"content": {"parts": [{"text": "x"}]}},
        {
            "embedding": {"values": []},
            "usageMetadata": {
                "promptTokenCount": 662, "totalTokenCount": 662,
                "promptTokenDetails": [
                    {"modality": "VIDEO", "tokenCount": 660},
                    {"modality": "TEXT", "tokenCount": 2},
                ],
            },
        },
        D(2) * D("0.20") / M + D(660) * D(12) / M,
    ),
    Sample(
        "thoughts and sound", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash",
            {
                "promptTokenCount": 100, "candidatesTokenCount": 10, "thoughtsTokenCount": 30, "totalTokenCount": 140,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 40},
                    {"modality": "AUDIO", "tokenCount": 60},
                ],
            },
        ),
        D(40) * D("0.30") / M + D(60) * D("1.00") / M + D(40) * D("2.50") / M,
    ),
    # P5
    Sample(
        "pages by their address are no searches", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", TEXT_ONLY, {"groundingChunks": [{"web": {"uri": "u"}}]}, tools=[{"urlContext": {}}]
        ),
        FLASH,
    ),
    Sample(
        "files of one's own are no searches", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", TEXT_ONLY, {"groundingChunks": [{"retrievedContext": {}}]}, tools=[{"fileSearch": {}}]
        ),
        FLASH,
    ),
    Sample(
        "before Gemini 3 a request is billed, however many its searches", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", TEXT_ONLY, {"webSearchQueries": ["a", "b"], "groundingChunks": [{"web": {}}]},
            tools=[{"googleSearch": {}}],
        ),
        FLASH + D(1) * D(35) / K,
    ),
    Sample(
        "from Gemini 3 on each query is billed once, and empty ones are not", "gemini", gemini("gemini-3.1-pro-preview"),
        *generate(
            "gemini-3.1-pro-preview", TEXT_ONLY, {"webSearchQueries": ["a", "", "b", "a", " "]},
            tools=[{"googleSearch": {}}],
        ),
        PRO3 + D(2) * D(14) / K,
    ),
    Sample(
        "maps have a price that nobody knows here", "gemini", gemini("gemini-2.5-flash"),
        *generate("gemini-2.5-flash", TEXT_ONLY, {"groundingChunks": [{"maps": {}}]}, tools=[{"googleMaps": {}}]),
        FLASH,
        ("unpriced_tool",),
    ),
    Sample(
        "a list of details that nobody knows", "gemini", gemini("gemini-2.5-flash"),
        *generate(
            "gemini-2.5-flash", {**TEXT_ONLY, "promptScentDetails": [{"scent": "ROSE", "tokenCount": 100}]}
        ),
        D(200) * D("0.30") / M + D(100) * D("1.00") / M + D(10) * D("2.50") / M,
        ("unknown_class",),
    ),
]  # fmt: skip
