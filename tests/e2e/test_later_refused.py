"""What is billed later, where it cannot be: refused to capped keys, not handed over where it cannot be booked."""

import gzip
import json

import openai
import pytest
import requests
from harness import Json, Router, eventually
from raw_http import ScriptedProvider, ledger_rows, reply

GPT = "gpt-4o-mini"


def booked(router: Router, key_id: str) -> list[Json]:
    return [row for row in ledger_rows(router, key_id) if "booked_later" in row["flags"]]


def test_capped_keys_are_refused_what_is_billed_later(router: Router) -> None:
    _, key = router.create_key(name="capped", spend_limit_usd="5")
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.responses.create(model=GPT, input="x", background=True)
        assert refused.value.code == "model_not_priced"
        assert "background" in str(refused.value)
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
        assert refused.value.code == "endpoint_not_metered"


def test_results_that_cannot_be_booked_are_not_handed_over(lab: Router, provider: ScriptedProvider) -> None:
    """Nor parts of them, nor such that nobody here can look into."""
    key_id, key = lab.create_key(name="owner")
    batch = {"id": "batch_9", "endpoint": "/v1/chat/completions", "output_file_id": "file-9"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"object": "chat.completion", "model": GPT, "choices": [{"message": {"content": "x"}}], "usage": usage}
    line = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}}
    packed = gzip.compress(json.dumps(line).encode())
    answers = [
        reply(200, json.dumps(batch).encode()),
        reply(206, json.dumps(line).encode()[:40], b"Content-Range: bytes 0-39/400"),
        reply(200, packed, b"Content-Encoding: frob"),
        reply(200, packed, b"Content-Encoding: gzip"),
    ]
    provider.play(lambda connection, _: connection.sock.sendall(answers.pop(0)))
    at = {"Authorization": f"Bearer {key}"}
    assert (
        requests.post(f"{lab.proxy_url}/v1/batches", json={"endpoint": "x"}, headers=at, timeout=10).status_code == 200
    )
    file = f"{lab.proxy_url}/v1/files/file-9/content"
    ranged = requests.get(file, headers=at, timeout=10)
    assert (ranged.status_code, ranged.json()["error"]["code"]) == (400, "invalid_request")
    with pytest.raises(requests.RequestException):
        requests.get(file, headers=at, timeout=10)
    assert booked(lab, key_id) == []
    assert requests.get(file, headers=at, timeout=10).json() == line
    eventually(lambda: booked(lab, key_id) != [], what="the booking")
    (row,) = booked(lab, key_id)
    assert (row["input_tokens"], row["output_tokens"]) == (7, 3)
    assert row["cost_nanos"] == -(-(7 * 75 + 3 * 300) // 1)  # half of 0.15 and 0.60 dollars a million


@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/octet-stream"])
def test_a_stored_stream_is_booked_by_whatever_name_it_comes(
    lab: Router, provider: ScriptedProvider, kind: bytes
) -> None:
    key_id, key = lab.create_key(name="stored")
    name = f"resp_{'a' if kind.startswith(b'text') else 'b'}"
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    begun: Json = {"id": name, "object": "response", "status": "queued", "model": GPT, "background": True, "output": []}
    done = {"type": "response.completed", "response": {**begun, "status": "completed", "usage": usage}}
    answers = [
        reply(200, json.dumps(begun).encode()),
        reply(200, b"event: response.completed\ndata: " + json.dumps(done).encode() + b"\n\n", kind=kind),
    ]
    provider.play(lambda connection, _: connection.sock.sendall(answers.pop(0)))
    at = {"Authorization": f"Bearer {key}"}
    asked = {"model": GPT, "input": "x", "background": True}
    requests.post(f"{lab.proxy_url}/v1/responses", json=asked, headers=at, timeout=10).raise_for_status()
    got = requests.get(f"{lab.proxy_url}/v1/responses/{name}?stream=true", headers=at, timeout=10)
    assert got.text.startswith("event: response.completed")
    eventually(lambda: booked(lab, key_id) != [], what="the booking")
    (row,) = booked(lab, key_id)
    assert (row["input_tokens"], row["output_tokens"]) == (7, 3)


def test_a_file_whose_batch_nobody_asked_for_is_found_out(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="owner")
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"object": "chat.completion", "model": GPT, "choices": [{"message": {"content": "x"}}], "usage": usage}
    line = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}}
    batch = {"id": "batch_8", "endpoint": "/v1/chat/completions", "output_file_id": None}
    told = {"data": [{**batch, "output_file_id": "file-8"}]}
    answers = {
        "POST /v1/batches HTTP/1.1": batch,
        "GET /v1/files/file-8/content HTTP/1.1": line,
        "GET /v1/files/file-7/content HTTP/1.1": {"not": "of a batch"},
        "GET /v1/batches?limit=100 HTTP/1.1": told,
    }
    provider.play(lambda one, heard: one.sock.sendall(reply(200, json.dumps(answers[heard.first]).encode())))
    at = {"Authorization": f"Bearer {key}"}
    requests.post(f"{lab.proxy_url}/v1/batches", json={"endpoint": "x"}, headers=at, timeout=10).raise_for_status()
    for name, expected in (("file-7", {"not": "of a batch"}), ("file-8", line), ("file-8", line)):
        got = requests.get(f"{lab.proxy_url}/v1/files/{name}/content", headers=at, timeout=10)
        assert (got.status_code, got.json()) == (200, expected)
    eventually(lambda: booked(lab, key_id) != [], what="the booking")
    assert len(booked(lab, key_id)) == 1
    assert [heard.first for heard in provider.heard].count("GET /v1/batches?limit=100 HTTP/1.1") == 1
