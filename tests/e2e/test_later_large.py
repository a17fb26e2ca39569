"""What is billed later, told by answers of more values than are parsed while others wait."""

import gzip
import json

import pytest
import requests
from harness import Json, Router, eventually
from raw_http import ScriptedProvider, ledger_rows, reply

GPT, GEMINI = "gpt-4o-mini", "gemini-2.5-flash"
MANY: list[list[Json]] = [[]] * 250_000
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
OF_GOOGLE = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
# The figures come first: of what is booked later they are not read at its end alone.
CHAT = {
    "object": "chat.completion",
    "model": GPT,
    "usage": USAGE,
    "choices": [{"message": {"content": "x"}}],
    "x": MANY,
}
CONTENT = {"usageMetadata": OF_GOOGLE, "candidates": [{"content": {"parts": [{"text": "x"}]}, "x": MANY}]}
RESPONSE = {"id": "resp_1", "object": "response", "status": "completed", "model": GPT, "output": [], "more": MANY,
            "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}}  # fmt: skip
JOBS: dict[str, tuple[str, Json, str, Json]] = {  # what begins it, how that is answered, what tells of it, and how
    "line": (
        "/v1/batches", {"id": "batch_1", "endpoint": "/v1/chat/completions", "output_file_id": "file-1"},
        "/v1/files/file-1/content", {"id": "a", "custom_id": "a", "response": {"status_code": 200, "body": CHAT}},
    ),
    "inline": (
        f"/v1beta/models/{GEMINI}:batchGenerateContent", {"name": "batches/1"},
        "/v1beta/batches/1",
        {"name": "batches/1", "response": {"inlinedResponses": {"inlinedResponses": [{"response": CONTENT}] * 2}}},
    ),
    "answer": (
        "/v1/responses", {"id": "resp_1", "object": "response", "status": "queued", "model": GPT, "usage": None},
        "/v1/responses/resp_1", RESPONSE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", JOBS)
def test_w1_results_of_many_values_are_booked_whole(stage: Router, provider: ScriptedProvider, kind: str) -> None:
    key_id, key = stage.create_key(name=kind)
    begins, begun, tells, told = JOBS[kind]
    answers = [reply(200, json.dumps(begun).encode()), reply(200, json.dumps(told).encode())]
    provider.play(lambda line, _: line.sock.sendall(answers.pop(0)))
    at = {"Authorization": f"Bearer {key}"}
    asked = {"model": GPT, "input": "x", "background": True} if kind == "answer" else {"endpoint": "x"}
    began = requests.post(f"{stage.proxy_url}{begins}", json=asked, headers=at, timeout=10)
    assert (began.status_code, began.json()) == (200, begun)
    assert requests.get(f"{stage.proxy_url}{tells}", headers=at, timeout=30).json() == told

    def booked() -> list[Json]:
        return [row for row in ledger_rows(stage, key_id) if "booked_later" in row["flags"]]

    eventually(lambda: booked() != [], what="the booking")
    assert {(row["input_tokens"], row["output_tokens"]) for row in booked()} == {(7, 3)}
    assert len(booked()) == (2 if kind == "inline" else 1)
    assert all("estimated" not in row["flags"] for row in booked())


@pytest.mark.parametrize("comment", [b"", b": x\n"], ids=["read", "unread"])
def test_w1_what_is_not_booked_of_a_stream_is_not_handed_over(
    stage: Router, provider: ScriptedProvider, comment: bytes
) -> None:
    """An event of very many lines, among as many others as nobody sends in one piece."""
    key_id, key = stage.create_key(name="stream")
    name = "resp_unread" if comment else "resp_read"
    begun, tells = {**JOBS["answer"][1], "id": name}, f"/v1/responses/{name}"
    told = {"type": "response.completed", "response": RESPONSE | {"id": name, "more": [0] * 60_000}}
    event = b"".join(b"data: " + line + b"\n" for line in json.dumps(told, indent=0).encode().split(b"\n"))
    stream = b"data: {}\n\n" * 60_000 + comment + event + b"\n"
    fields = (b"Content-Encoding: gzip",)
    answers = [
        reply(200, json.dumps(begun).encode()),
        reply(200, gzip.compress(stream), *fields, kind=b"text/event-stream"),
    ]
    provider.play(lambda line, _: line.sock.sendall(answers.pop(0)))
    at = {"Authorization": f"Bearer {key}"}
    asked = {"model": GPT, "input": "x", "background": True}
    assert requests.post(f"{stage.proxy_url}/v1/responses", json=asked, headers=at, timeout=10).json() == begun
    if comment:
        with pytest.raises(requests.RequestException):
            requests.get(f"{stage.proxy_url}{tells}?stream=true", headers=at, timeout=30)
        return
    assert requests.get(f"{stage.proxy_url}{tells}?stream=true", headers=at, timeout=30).content == stream

    def booked() -> list[Json]:
        return [row for row in ledger_rows(stage, key_id) if "booked_later" in row["flags"]]

    eventually(lambda: booked() != [], what="the booking")
    (row,) = booked()
    assert (row["input_tokens"], row["output_tokens"]) == (7, 3)
