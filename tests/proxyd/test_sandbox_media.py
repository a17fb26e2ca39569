"""The sandbox's sound, pictures and older endpoints, and what its invoice says of them by hand."""

import json
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal

import pytest
from form_kit import CONTENT_TYPE, Field, form

from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.service import SandboxService
from proxyd.sandbox.values import Answer, Document, SandboxRequest

D = Decimal
SECOND = b"\0" * 32_000


def ask(path: str, request: Document | Iterable[Field]) -> tuple[Answer, Attempt]:
    headers = {"authorization": "Bearer sandbox-test"}
    if isinstance(request, dict):
        body = json.dumps(request).encode()
    else:
        body, headers["content-type"] = form(request), CONTENT_TYPE.decode()
    answer, attempt = SandboxService().answer(SandboxRequest("POST", path, "", headers, body))
    assert attempt is not None
    if answer.bill is not None:
        attempt.charge(answer.bill, answer.bill.output_tokens)
    return answer, attempt


def sound(model: str, **fields: str) -> list[Field]:
    return [("model", model), ("file", SECOND * 3), *fields.items()]


@pytest.mark.parametrize(
    ("path", "request_", "dollars"),
    [
        ("completions", {"model": "davinci-002", "prompt": ["12345678"] * 2, "best_of": 3}, D(4 + 2 * 3 * 16) * D(2) / 10**6),
        ("audio/speech", {"model": "tts-1", "input": "Grüße"}, D(5) * D(15) / 10**6),
        ("audio/speech", {"model": "gpt-4o-mini-tts", "input": "12345678"}, (D(2) * D("0.6") + D(12) * D(12)) / 10**6),
        ("audio/transcriptions", sound("whisper-1"), D(3) * D("0.006") / 60),
        ("audio/translations", sound("whisper-1"), D(3) * D("0.006") / 60),
        (
            "audio/transcriptions", sound("gpt-4o-transcribe", prompt="12345678"),
            (D(2) * D("2.5") + D(30) * D(6) + D(-(-len("You sent 96000 bytes of sound: nobody has heard them.") // 4)) * D(10)) / 10**6,
        ),
        (
            "images/generations", {"model": "gpt-image-2", "prompt": "A cat", "n": 2, "quality": "high"},
            (D(2 * 2) * D(5) + D(2 * 4_160) * D(30)) / 10**6,
        ),
        (
            "images/edits", [("model", "gpt-image-1.5"), ("prompt", "A cat"), ("image[]", b"x"), ("quality", "low")],
            (D(2) * D(5) + D(1_024) * D(8) + D(272) * D(32)) / 10**6,
        ),
        ("images/variations", [("model", "dall-e-2"), ("image", b"x"), ("n", "2"), ("size", "512x512")], D("0.036")),
    ],
)  # fmt: skip
def test_it_works(path: str, request_: Document | list[Field], dollars: Decimal) -> None:
    answer, attempt = ask(f"/v1/{path}", request_)
    assert answer.status == 200
    assert attempt.cost_nanos == int((dollars * 10**9).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize(
    ("path", "request_", "status", "param"),
    [
        ("audio/speech", {"model": "tts-1"}, 400, "input"),
        ("audio/speech", {"model": "tts-1", "input": "x", "stream_format": "sse"}, 400, "stream_format"),
        ("audio/speech", {"model": "gpt-4o", "input": "x"}, 404, "model"),
        ("audio/transcriptions", [("model", "whisper-1")], 400, "file"),
        ("audio/translations", sound("gpt-4o-transcribe"), 404, "model"),
        ("images/generations", {"model": "dall-e-3", "prompt": "x", "size": "1x1"}, 400, "size"),
        ("images/generations", {"model": "gpt-image-2", "prompt": "x", "n": "many"}, 400, "n"),
        ("completions", {"model": "davinci-002", "prompt": [1, 2]}, 400, "prompt"),
        ("audio/speech", {"model": "tts-1", "input": "sandbox:429 x"}, 429, None),
    ],
)
def test_what_it_does_not_take(path: str, request_: Document | list[Field], status: int, param: str | None) -> None:
    answer, attempt = ask(f"/v1/{path}", request_)
    assert (answer.status, json.loads(answer.body)["error"]["param"]) == (status, param)
    assert attempt.cost_nanos == 0


def test_a_conversation_is_compacted() -> None:
    said = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]
    answer, attempt = ask("/v1/responses/compact", {"model": "gpt-5", "input": said})
    told = json.loads(answer.body)
    assert [item.get("role", item.get("type")) for item in told["output"]] == ["user", "compaction"]
    assert attempt.output_tokens == told["usage"]["output_tokens"] > 0
