"""generateContent of Gemini's dialect, as a client sends it: from a body to a conversation.

Whether it is a stream is told by the method, and the model by the path: neither stands in the body. Sources: the API
reference of ai.google.dev and the types of the google-genai SDK 3.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from proxyd.providers import BadBody
from proxyd.providers.gemini_request import tier_name
from proxyd.translation.conversation import (
    EFFORTS,
    Conversation,
    Display,
    Reasoning,
    Schema,
    Tool,
    ToolChoice,
)
from proxyd.translation.fields import refusal
from proxyd.translation.generate_contents import texts_in, turns_in
from proxyd.translation.generate_schema import closed, json_schema
from proxyd.translation.proto_fields import ProtoFields
from proxyd.translation.reasoning import effort_of

# A filter that is switched off is none, as everywhere else; any other would not be there.
_NO_FILTER = ("OFF", "BLOCK_NONE")
_MODES: Mapping[str, ToolChoice] = {
    "AUTO": ToolChoice("auto"),
    "ANY": ToolChoice("any"),
    "NONE": ToolChoice("none"),
}
# Where a writer names a field that its own dialect cannot say, what it is called here.
NAMES: Mapping[str, str] = {
    "top_k": "generationConfig.topK",
    "temperature": "generationConfig.temperature",
    "reasoning_effort": "generationConfig.thinkingConfig",
}


def read_streamed(document: Mapping[str, Any]) -> Conversation:
    """What a body of streamGenerateContent asks for. Raises BadBody as `read` does."""
    return replace(read(document), stream=True)


def read(document: Mapping[str, Any]) -> Conversation:
    """What a body asks for. Raises BadBody for what is wrong, and for what cannot be translated."""
    body = ProtoFields(dict(document))
    body.hint("model")  # that of the path, as was seen to
    body.only("store", False)
    for setting in body.each("safetySettings"):
        setting.needed("category")
        setting.only("threshold", *_NO_FILTER)
        setting.done()
    tier = body.text("serviceTier")
    if tier is not None and tier_name(tier) not in ("unspecified", "standard"):
        raise refusal(body.at("serviceTier"))
    config = body.part("generationConfig") or ProtoFields({}, "generationConfig")
    _refuse_what_has_no_equal(config)
    tools, choice = _choice(body, tuple(_tools(body)))
    conversation = Conversation(
        model="",
        turns=turns_in(body),
        system=tuple(texts_in(body.part("systemInstruction"))),
        tools=tools,
        tool_choice=choice,
        max_tokens=config.count("maxOutputTokens") or None,  # protocol buffers spell that nothing was set as 0
        stop=config.texts("stopSequences"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.count("topK"),
        reasoning=_reasoning(config),
        schema=_schema(config),
        standard_tier=tier is not None and tier_name(tier) == "standard",
    )
    config.done()
    body.done()
    return conversation


def _refuse_what_has_no_equal(config: ProtoFields) -> None:
    config.only("candidateCount", 1)
    for name in ("presencePenalty", "frequencyPenalty"):
        config.only(name, 0, 0.0)
    for name in ("responseLogprobs", "audioTimestamp", "enableEnhancedCivicAnswers"):
        config.only(name, False)
    config.only("responseModalities", [], ["TEXT"], ["Text"], ["text"])


def _tools(body: ProtoFields) -> Iterator[Tool]:
    for tool in body.each("tools"):
        for declared in tool.each("functionDeclarations"):
            declared.only("behavior", "BLOCKING", "UNSPECIFIED")
            # What it returns, which its results show; Google's SDK says it of every function of Python.
            declared.hint("response", "responseJsonSchema")
            name, described = declared.needed("name"), declared.text("description")
            yield Tool(name, described, _parameters(declared))
            declared.done()
        tool.done()  # what is left are tools of Google's own


def _parameters(declared: ProtoFields) -> Mapping[str, Any] | None:
    plain, place = declared.mapping("parametersJsonSchema"), declared.at("parameters")
    written = declared.mapping("parameters")
    if plain is not None and written is not None:
        raise refusal(place, "stands beside parametersJsonSchema")
    return plain if written is None else json_schema(written, place)


def _choice(body: ProtoFields, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Which tools may be called. Of those that may not nothing is said, where it is not all of them."""
    config = body.part("toolConfig")
    calling = None if config is None else config.part("functionCallingConfig")
    if config is not None:
        config.done()
    if calling is None:
        return tools, None
    mode, allowed, place = calling.text("mode"), calling.texts("allowedFunctionNames"), calling.place
    if mode not in (None, "MODE_UNSPECIFIED", *_MODES):
        raise refusal(calling.at("mode"))
    if allowed and mode != "ANY":
        raise refusal(calling.at("allowedFunctionNames"), "goes with the mode ANY alone")
    calling.done()
    choice = _MODES.get(mode or "")
    if not allowed:
        return tools, choice
    among = tuple(tool for tool in tools if tool.name in allowed)
    if len(among) < len(set(allowed)):
        raise BadBody(f"{place}.allowedFunctionNames names a function that is not declared.", place)
    return (tools, ToolChoice("named", allowed[0])) if len(among) == 1 else (among, choice)


def _reasoning(config: ProtoFields) -> Reasoning | None:
    """How much it shall think. Its thoughts are told to whoever asks for them."""
    thinking = config.part("thinkingConfig")
    if thinking is None:
        return None
    display: Display = "summarized" if thinking.flag("includeThoughts") else "omitted"
    budget, level = thinking.count("thinkingBudget"), (thinking.text("thinkingLevel") or "").lower()
    if level and budget is not None:
        raise refusal(thinking.at("thinkingLevel"), "stands beside thinkingBudget")
    if level not in ("", "thinking_level_unspecified", *EFFORTS[:4]):
        raise refusal(thinking.at("thinkingLevel"))
    if budget is not None and budget < -1:
        at = thinking.at("thinkingBudget")
        raise BadBody(f"{at} must be a number of tokens, or -1 for as many as the model likes.", at)
    thinking.done()
    if budget == 0:
        return None
    if budget is not None:
        return Reasoning("high" if budget < 0 else effort_of(budget), None if budget < 0 else budget, display)
    effort = next((each for each in EFFORTS if each == level), None)
    return None if effort is None and display == "omitted" else Reasoning(effort, None, display)


def _schema(config: ProtoFields) -> Schema | None:
    """What the answer has to look like."""
    kind, at = config.text("responseMimeType"), config.at("responseMimeType")
    name = "responseSchema" if config.has("responseSchema") else "responseJsonSchema"
    place, schema = config.at(name), config.mapping(name)
    if kind in (None, "text/plain"):
        if schema is not None:
            raise BadBody(f"{place} goes with the responseMimeType application/json alone.", place)
        return None
    if kind != "application/json":
        raise refusal(at)
    if schema is None:
        raise refusal(at, "without a schema cannot be said to a model of another provider")
    return Schema(closed(json_schema(schema, place) if name == "responseSchema" else schema, place), place=place)
