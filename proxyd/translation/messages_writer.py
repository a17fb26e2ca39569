"""Messages of Anthropic's dialect, as they go to the provider: from a conversation to a body."""

import re
from typing import Any

from proxyd.translation.chat_reader import PDF
from proxyd.translation.conversation import (
    Conversation,
    File,
    Image,
    Part,
    Reasoning,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
)
from proxyd.translation.fields import refusal
from proxyd.translation.reasoning import BUDGETS
from shared.output_limits import accepted_limit, output_maximum

LEAST_BUDGET = 1_024  # of a thought, and it has to be less than the whole answer may have
# Models of before 4.6 are told how many tokens to think; those since, how hard. Source: platform.claude.com,
# "Adaptive thinking".
_BY_BUDGET = re.compile(r"claude-(?:[123]|instant|v\d|(?:opus|sonnet|haiku)-4(?:-[0-5](?!\d)|-20|$|@))")

Json = dict[str, Any]


def write(conversation: Conversation) -> Json:
    """The body. Raises BadBody for what the dialect cannot say."""
    if conversation.temperature is not None and conversation.temperature > 1:
        raise refusal("temperature", "is above 1, which is the most that models of Anthropic take")
    limit = _default_limit(conversation) if conversation.max_tokens is None else conversation.max_tokens
    body: Json = {
        "model": conversation.model,
        "max_tokens": limit,
        "messages": [{"role": turn.role, "content": _content(turn.parts)} for turn in conversation.turns],
    }
    plain: Json = {
        "stop_sequences": list(conversation.stop) or None,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "top_k": conversation.top_k,
        "service_tier": "standard_only" if conversation.standard_tier else None,
        "metadata": None if conversation.user is None else {"user_id": conversation.user},
        "tool_choice": _choice(conversation),
        "stream": conversation.stream or None,
        "thinking": None,
        "output_config": None,
    }
    if conversation.system:
        body["system"] = _content(conversation.system)
    if conversation.tools:
        body["tools"] = [
            {"name": tool.name, "input_schema": tool.parameters or {"type": "object", "properties": {}}}
            | ({} if tool.description is None else {"description": tool.description})
            | ({} if tool.strict is None else {"strict": tool.strict})
            for tool in conversation.tools
        ]
    config: Json = {}
    if conversation.reasoning is not None:
        plain["thinking"], config = _thinking(conversation.reasoning, conversation.model, limit)
    if conversation.schema is not None:
        if not conversation.schema.strict:
            raise refusal(conversation.schema.place, "is false, and models of Anthropic hold to every schema")
        config["format"] = {"type": "json_schema", "schema": conversation.schema.schema}
    plain["output_config"] = config or None
    return body | {name: value for name, value in plain.items() if value is not None}


def _default_limit(conversation: Conversation) -> int:
    """A limit where the client set none, because the dialect wants one: as much as the model is known to take."""
    limit, reasoning = accepted_limit("anthropic", conversation.model), conversation.reasoning
    if reasoning is None or reasoning.budget_tokens is None or output_maximum("anthropic", conversation.model):
        return limit
    return limit + reasoning.budget_tokens  # of an unknown model: it takes more than the thoughts that it is allowed


def thinks_by_budget(model: str) -> bool:
    """Whether a model is told how many tokens to think."""
    return _BY_BUDGET.match(model) is not None


def fitting_budget(conversation: Conversation, tokens: int) -> int:
    """The nearest to so many tokens of thoughts that such a model takes. Raises BadBody where it takes none."""
    limit = _default_limit(conversation) if conversation.max_tokens is None else conversation.max_tokens
    return _fitting(tokens, limit)


def _fitting(tokens: int, limit: int) -> int:
    if limit <= LEAST_BUDGET:
        raise refusal("reasoning_effort", f"takes more than the {limit} tokens that the answer may have")
    return min(max(tokens, LEAST_BUDGET), limit - 1)


def _thinking(reasoning: Reasoning, model: str, limit: int) -> tuple[Json | None, Json]:
    """`thinking`, and what of it stands in `output_config`."""
    display: Json = {} if reasoning.display is None else {"display": reasoning.display}
    if reasoning.budget_tokens is not None:
        return {"type": "enabled", "budget_tokens": reasoning.budget_tokens} | display, {}
    if not thinks_by_budget(model):
        effort = "low" if reasoning.effort == "minimal" else reasoning.effort
        return {"type": "adaptive"} | display, {} if effort is None else {"effort": effort}
    if reasoning.effort is None:
        return None, {}  # it does not think by itself
    return {"type": "enabled", "budget_tokens": _fitting(BUDGETS[reasoning.effort], limit)} | display, {}


def _content(parts: tuple[Part, ...]) -> str | list[Json]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_block(part) for part in parts]


def _block(part: Part) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "image", "source": _source(part)}
    if isinstance(part, File):
        source = {"type": "base64", "media_type": PDF, "data": part.data}
        return {"type": "document", "source": source} | ({} if part.name is None else {"title": part.name})
    if isinstance(part, Thinking):
        if part.signature is None:
            raise refusal(part.place, "has no signature by which its provider would know it again")
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    if isinstance(part, RedactedThinking):
        return {"type": "redacted_thinking", "data": part.data}
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
    content = _content(part.content)
    return {"type": "tool_result", "tool_use_id": part.call_id, "content": content} | (
        {"is_error": True} if part.failed else {}
    )


def _source(image: Image) -> Json:
    if image.media_type is None:
        return {"type": "url", "url": image.data}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _choice(conversation: Conversation) -> Json | None:
    """Whether several calls are made at once is said beside which."""
    choice, parallel = conversation.tool_choice, conversation.parallel_calls
    if choice is None and (parallel is None or not conversation.tools):
        return None
    choice = choice or ToolChoice("auto")
    said: Json = {"type": "tool" if choice.mode == "named" else choice.mode}
    if choice.mode == "named":
        said["name"] = choice.name
    if parallel is not None and choice.mode != "none":
        said["disable_parallel_tool_use"] = not parallel
    return said
