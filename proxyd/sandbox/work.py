"""One request answered in words, however it came: by itself, as a line of a batch, or in the background."""

import orjson

from proxyd.sandbox import behaviour, models, openai_media
from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.invoice import MARKER_CHARACTERS, Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import ARGUMENT, speak
from proxyd.sandbox.values import Bill, Heard, Slug, Telling


def prepared(
    provider: Slug,
    asked_model: str,
    wanted: str,
    attempt: Attempt,
    header: str | None = None,
    *,
    media: str | None = None,
) -> tuple[str, Behaviour]:
    """The real model and the behaviour, both noted; refused when the model is unknown or an error was wished for.

    `wanted` are the behaviours that the prompt names, `header` those of the request's header. `media` names the
    endpoint of those that have models of their own.
    """
    model, by_model = behaviour.of_model(asked_model.removeprefix("models/"))
    words = " ".join(filter(None, (header, by_model, wanted)))
    attempt.model, attempt.behaviour = model, words
    how = behaviour.read(words)
    if not (models.exists(provider, model) if media is None else openai_media.exists(media, model)):
        raise Refusal(404, f"The model `{model[:100]}` does not exist or you do not have access to it.", param="model")
    if how.status != 200:
        raise Refusal(how.status, f"The sandbox was asked for status {how.status}.")
    return model, how


def _call(heard: Heard, how: Behaviour) -> tuple[str, str] | None:
    """The tool to be called, and its arguments."""
    if not (how.call or how.think):
        return None
    if heard.tools is None:
        raise Refusal(400, "The sandbox thinks and calls tools in chat completions, messages and content alone.")
    if not how.call or heard.answers_tool:
        return None
    if not heard.tools:
        raise Refusal(400, "The sandbox was asked to call a tool, and was given none.")
    name, schema = heard.tools[0]
    required = schema.get("required") if isinstance(schema, dict) else None
    arguments = {str(one): ARGUMENT for one in required} if isinstance(required, list) else {}
    return name, orjson.dumps(arguments).decode()


def spoken(
    provider: Slug, heard: Heard, attempt: Attempt, *, stream: bool = False, header: str | None = None
) -> tuple[Telling, Bill, Behaviour]:
    """What is told, what it costs, and how."""
    prompt, wanted = behaviour.of_prompt(heard.prompt)
    attempt.marker, attempt.stream = heard.prompt[:MARKER_CHARACTERS], stream
    model, how = prepared(provider, heard.model, wanted, attempt, header)
    if how.error_event and not stream:
        raise Refusal(500, "The server had an error while processing your request.")
    call = _call(heard, how)
    speech = speak(prompt, how, limit_tokens=heard.limit_tokens, choices=heard.choices, call=call)
    telling = Telling(attempt.id, int(attempt.at), model, heard, speech, usage=not how.no_usage)
    return telling, Bill(model, heard.input_tokens, speech.output_tokens), how
