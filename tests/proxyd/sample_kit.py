"""Answers as the providers send them: what each has to say, and builders of them.

A sample's `cost` is an expression of decimals that nobody but a person wrote. Rates are those of 25 November 2026, per
million tokens (M) and per thousand calls (K).
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


def gemini(model: str, method: str = "generateContent") -> str:
    return f"/v1beta/models/{model}:{method}"


CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
