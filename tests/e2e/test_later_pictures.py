"""Batches of pictures: no answer in them names its model, so the batch does."""

import json

import pytest
import requests
from harness import Json, Router, eventually
from raw_http import ScriptedProvider, ledger_rows, reply

READ, PAINTED = 1_000, 2_000
DETAILS = {"text_tokens": READ, "image_tokens": 0}
USAGE = {
    "input_tokens": READ, "output_tokens": PAINTED, "total_tokens": READ + PAINTED, "input_tokens_details": DETAILS,
}  # fmt: skip


@pytest.mark.parametrize("asks", ["batch", "list", "nobody"])
@pytest.mark.parametrize(
    ("model", "nanos"),
    [
        ("gpt-image-1.5", READ * 2_500 + PAINTED * 16_000),  # half of 5 and 32 dollars a million
        (None, READ * 5_000 + PAINTED * 32_000),  # chatgpt-image-latest, which has no price for batches
    ],
)
def test_it_works(lab: Router, provider: ScriptedProvider, model: str | None, nanos: int, asks: str) -> None:
    key_id, key = lab.create_key(name="painter")
    name = f"{asks}_{nanos}"
    batch = {"id": f"batch_{name}", "endpoint": "/v1/images/generations", "output_file_id": None, "model": None}
    done = {**batch, "output_file_id": f"file-{name}", "model": model}
    body = {"created": 1, "data": [{"b64_json": "AAAA"}], "usage": USAGE}
    line = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": body}}
    answers = {
        "POST /v1/batches HTTP/1.1": batch,
        f"GET /v1/batches/batch_{name} HTTP/1.1": done,
        "GET /v1/batches HTTP/1.1": {"data": [done]},
        "GET /v1/batches?limit=100 HTTP/1.1": {"data": [done]},
        f"GET /v1/files/file-{name}/content HTTP/1.1": line,
    }
    provider.play(lambda one, heard: one.sock.sendall(reply(200, json.dumps(answers[heard.first]).encode())))
    at = {"Authorization": f"Bearer {key}"}
    requests.post(f"{lab.proxy_url}/v1/batches", json={"endpoint": "x"}, headers=at, timeout=10).raise_for_status()
    if asks != "nobody":
        told = f"{lab.proxy_url}/v1/batches" + (f"/batch_{name}" if asks == "batch" else "")
        requests.get(told, headers=at, timeout=10).raise_for_status()
    requests.get(f"{lab.proxy_url}/v1/files/file-{name}/content", headers=at, timeout=10).raise_for_status()

    def booked() -> list[Json]:
        return [row for row in ledger_rows(lab, key_id) if "booked_later" in row["flags"]]

    eventually(lambda: booked() != [], what="the booking")
    (row,) = booked()
    assert (row["cost_nanos"], row["requested_model"]) == (nanos, model)
    assert ("unknown_class" in row["flags"]) == (model is None)
