"""The Gemini dialect: content whole and as a stream, embeddings, counting of tokens, lists of models, errors.

Shapes: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/embeddings and the types of the
google-genai package. Fields may be spelled in camelCase or snake_case.
"""

from collections.abc import Iterator
from urllib.parse import parse_qs

import orjson

from proxyd.sandbox import reading
from proxyd.sandbox.openai import vector
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.speech import progress, tokens
from proxyd.sandbox.values import Document, Event, Heard, Operation, Telling

DIMENSIONS = 3072
OUTPUT_LIMIT_TOKENS = 65_536

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error(refusal: Refusal) -> Document:
    """The error envelope."""
    fallback = "INTERNAL" if refusal.status >= 500 else "INVALID_ARGUMENT"
    return {
        "error": {
            "code": refusal.status,
            "message": refusal.message,
            "status": _STATUSES.get(refusal.status, fallback),
        }
    }


def _field(document: Document, camel: str, snake: str) -> object:
    return document.get(camel, document.get(snake))


def _parts_tokens(content: object) -> int:
    if isinstance(content, str):
        return reading.tokens_of(content)
    return reading.tokens_of(content.get("parts")) if isinstance(content, dict) else 0


def input_tokens(document: Document) -> int:
    """Tokens of contents, system instruction and tools; `generateContentRequest` of countTokens is looked into."""
    inner = _field(document, "generateContentRequest", "generate_content_request")
    if isinstance(inner, dict):
        return input_tokens(inner)
    contents = reading.objects(document, "contents")
    system = _field(document, "systemInstruction", "system_instruction")
    return (
        sum(_parts_tokens(content) for content in contents) + _parts_tokens(system) + reading.tokens_of_tools(document)
    )


def hear(document: Document, path_model: str | None, query: str) -> Heard:
    """Read a request for content; whether it streams is told by the method in the path."""
    config = _field(document, "generationConfig", "generation_config") or {}
    if not isinstance(config, dict):
        raise Refusal(400, "Invalid value for 'generation_config': expected an object.")
    contents = reading.objects(document, "contents")
    return Heard(
        model=path_model or "",
        prompt=reading.last_user_text(contents, "parts"),
        input_tokens=input_tokens(document),
        limit_tokens=reading.count(config, "maxOutputTokens", "max_output_tokens"),
        choices=reading.choices(config, "candidateCount"),
        array=parse_qs(query).get("alt") != ["sse"],
        tools=_tools(document),
        answers_tool=_is_result(contents[-1].get("parts")),
    )


def _tools(document: Document) -> tuple[tuple[str, object], ...]:
    found: list[tuple[str, object]] = []
    given = document.get("tools")
    for tool in given if isinstance(given, list) else []:
        declared = _field(tool, "functionDeclarations", "function_declarations") if isinstance(tool, dict) else None
        found += reading.tools_of(declared, "parameters", "parametersJsonSchema", "parameters_json_schema")
    return tuple(found)


def _is_result(parts: object) -> bool:
    return isinstance(parts, list) and any(
        isinstance(part, dict) and _field(part, "functionResponse", "function_response") for part in parts
    )


def _thought(telling: Telling) -> list[Document]:
    return [{"text": telling.speech.thought, "thought": True}] if telling.speech.thought else []


def _call(telling: Telling) -> list[Document]:
    if telling.speech.call is None:
        return []
    name, arguments = telling.speech.call
    return [{"functionCall": {"name": name, "args": orjson.loads(arguments)}}]


def _document(telling: Telling, texts: dict[int, list[Document]], output_tokens: int, finish: str | None) -> Document:
    ending = {} if finish is None else {"finishReason": finish}
    document: Document = {
        "candidates": [
            {"content": {"parts": parts, "role": "model"}, **ending, "index": index} for index, parts in texts.items()
        ],
        "modelVersion": telling.model,
        "responseId": telling.id,
    }
    if telling.usage:
        thought = min(tokens(telling.speech.thought) * telling.speech.choices, output_tokens)
        document["usageMetadata"] = _usage(telling.heard.input_tokens, output_tokens - thought)
        if thought:
            document["usageMetadata"] |= {
                "thoughtsTokenCount": thought,
                "totalTokenCount": telling.heard.input_tokens + output_tokens,
            }
    return document


def _usage(prompt: int, output_tokens: int | None) -> Document:
    usage: Document = {"promptTokenCount": prompt}
    if output_tokens is not None:
        usage["candidatesTokenCount"] = output_tokens
    usage["totalTokenCount"] = prompt + (output_tokens or 0)
    usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": prompt}]
    return usage


def _finish(telling: Telling) -> str:
    return "MAX_TOKENS" if telling.speech.truncated else "STOP"


def whole(telling: Telling) -> Document:
    """Content in one piece."""
    parts = [*_thought(telling), {"text": telling.speech.text}, *_call(telling)]
    texts = dict.fromkeys(range(telling.speech.choices), parts)
    return _document(telling, texts, telling.speech.output_tokens, _finish(telling))


def events(telling: Telling) -> Iterator[Event]:
    """Content as a stream: usage so far in every chunk; as events, or as the elements of one JSON array."""
    total = telling.speech.output_tokens
    before, after = (b"", b"") if telling.heard.array else (b"data: ", b"\r\n\r\n")
    between = b"[" if telling.heard.array else b""
    if thought := _thought(telling):
        texts = dict.fromkeys(range(telling.speech.choices), thought)
        chunk = orjson.dumps(_document(telling, texts, tokens(telling.speech.thought), None))
        yield Event(between + before + chunk + after, tokens(telling.speech.thought))
        between = b",\r\n" if telling.heard.array else b""
    for piece, choice, produced in progress(telling.speech):
        chunk = orjson.dumps(_document(telling, {choice: [{"text": piece}]}, produced, None))
        yield Event(between + before + chunk + after, produced, paced=True)
        between = b",\r\n" if telling.heard.array else b""
    texts = dict.fromkeys(range(telling.speech.choices), _call(telling) or [{"text": ""}])
    closing = orjson.dumps(_document(telling, texts, total, _finish(telling)))
    yield Event(between + before + closing + after + (b"]" if telling.heard.array else b""), total)


_FAILED = orjson.dumps(error(Refusal(503, "The model is overloaded. Please try again later.")))

GENERATE = Operation(
    hear=hear, whole=whole, events=events, error_event=b"data: " + _FAILED + b"\r\n\r\n", owns_up="progress"
)


def embedding_requests(document: Document, *, batch: bool) -> list[Document]:
    """The single requests of an embedding call."""
    return reading.objects(document, "requests") if batch else [document]


def embedding_tokens(requests: list[Document]) -> int:
    """Input tokens of an embedding call."""
    return sum(_parts_tokens(request.get("content")) for request in requests)


def embeddings(requests: list[Document], *, batch: bool, usage: bool) -> Document:
    """The answer to embedContent or batchEmbedContents."""
    vectors = []
    for request in requests:
        content = request.get("content")
        text = reading.text_of(content.get("parts")) if isinstance(content, dict) else ""
        wanted = {"outputDimensionality": _field(request, "outputDimensionality", "output_dimensionality")}
        dimensions = min(reading.count(wanted, "outputDimensionality") or DIMENSIONS, 4096)
        vectors.append({"values": vector(text, dimensions)})
    answer: Document = {"embeddings": vectors} if batch else {"embedding": vectors[0]}
    if usage:
        answer["usageMetadata"] = _usage(embedding_tokens(requests), None)
    return answer


def model_card(name: str) -> Document:
    """One model in a list."""
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": OUTPUT_LIMIT_TOKENS,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
    }
