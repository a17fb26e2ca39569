"""Endpoints that are free or not metered: what a key may do there, and by which model it is judged."""

import json

import pytest
from ask_kit import SPEAK, ask
from harness import Router, eventually
from raw_http import ScriptedProvider, bearer, ledger_rows


@pytest.mark.parametrize(
    ("first", "dialect"),
    [
        (b"GET /v1/files", "openai"), (b"GET /v1/batches", "openai"), (b"GET /v1/fine_tuning/jobs", "openai"),
        (b"POST /v1/files", "openai"), (b"DELETE /v1/files/file-1", "openai"), (b"GET /v1/files", "anthropic"),
        (b"GET /v1/messages/batches", "anthropic"), (b"GET /v1/files", "gemini"), (b"GET /v1beta/cachedContents", "gemini"),
    ],
)  # fmt: skip
def test_reads_and_files_cost_a_capped_key_nothing(
    stage: Router, quiet: ScriptedProvider, first: bytes, dialect: str
) -> None:
    key_id, key = stage.create_key(name="capped", spend_limit_usd="0.01")
    body = b"--x--\r\n" if first.startswith(b"POST") else b""
    kind = (b"Content-Type: multipart/form-data; boundary=x",) if body else ()
    assert ask(stage, first, bearer(key), *SPEAK[dialect], *kind, body=body).status == 200
    assert quiet.heard[0].first == f"{first.decode()} HTTP/1.1"
    eventually(lambda: ledger_rows(stage, key_id) != [], what="the row")
    (row,) = ledger_rows(stage, key_id)
    assert (row["cost_nanos"], row["flags"], row["outcome"]) == (0, [], "ok")


@pytest.mark.parametrize("first", [b"POST /v1/batches", b"POST /v1/videos", b"POST /v1/never/heard/of"])
def test_what_cannot_be_metered_is_refused_to_a_capped_key_and_marked_for_others(
    stage: Router, quiet: ScriptedProvider, first: bytes
) -> None:
    _, capped = stage.create_key(name="capped", spend_limit_usd="1")
    refused = ask(stage, first, bearer(capped), b"Content-Type: application/json", body=b'{"model":"m"}')
    assert (refused.status, refused.code, quiet.heard) == (403, "endpoint_not_metered", [])
    key_id, key = stage.create_key(name="free")
    assert ask(stage, first, bearer(key), b"Content-Type: application/json", body=b'{"model":"m"}').status == 200
    eventually(lambda: ledger_rows(stage, key_id) != [], what="the row")
    (row,) = ledger_rows(stage, key_id)
    assert (row["flags"], row["requested_model"]) == (["unmetered"], "m")


FORM = b"Content-Type: multipart/form-data; boundary=xYz"
FILE = b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + b"RIFF" * 50_000 + b"\r\n"


def field(model: bytes) -> bytes:
    return b'--xYz\r\nContent-Disposition: form-data; name="model"\r\n\r\n' + model + b"\r\n"


@pytest.mark.parametrize("order", ["before", "behind"])
def test_the_model_of_a_form_is_judged_wherever_it_stands(stage: Router, quiet: ScriptedProvider, order: str) -> None:
    _, key = stage.create_key(name="forms", allowed_models=["sora-2*"])
    for model, status in ((b"sora-2", 200), (b"sora-3", 403)):
        parts = [field(model), FILE] if order == "before" else [FILE, field(model)]
        body = b"".join(parts) + b"--xYz--\r\n"
        answer = ask(stage, b"POST /v1/videos", bearer(key), FORM, body=body)
        assert (answer.status, answer.code) == (status, None if status == 200 else "model_not_allowed")
    assert [len(heard.body) for heard in quiet.heard] == [len(FILE + field(b"sora-2") + b"--xYz--\r\n")]


def test_a_second_model_behind_the_file_reaches_nobody(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="sly", allowed_models=["sora-2*"])
    for last in (field(b"sora-3"), field(b"x").replace(b'"model"', b'"mo\\del"')):
        body = field(b"sora-2") + FILE + last + b"--xYz--\r\n"
        answer = ask(stage, b"POST /v1/videos", bearer(key), FORM, body=body)
        assert (answer.status, answer.code) == (400, "invalid_request")
    assert quiet.heard == []  # only what came to its end was heard


def test_the_model_in_json_is_judged_on_endpoints_that_are_not_metered(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="films", allowed_models=["sora-2*"])
    for document, status in (
        ({"model": "sora-2", "prompt": "x"}, 200),
        ({"model": "sora-3", "prompt": "x"}, 403),
        ({"prompt": "x"}, 403),
        ({"model": "sora-2", "also": {"model": "sora-3"}}, 403),
    ):
        body = json.dumps(document).encode()
        json_type = b"Content-Type: application/json"
        assert ask(stage, b"POST /v1/videos", bearer(key), json_type, body=body).status == status
    assert len(quiet.heard) == 1


def test_a_read_cannot_be_made_a_call_by_its_query(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="sly", spend_limit_usd="1")
    path = b"GET /v1beta/tunedModels/imagen-4:predict?$httpHeaders=x-http-method-override:POST&$req={}"
    answer = ask(stage, path, bearer(key))
    assert (answer.status, answer.code, quiet.heard) == (400, "invalid_request", [])
