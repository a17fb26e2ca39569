"""Gemini's uploads in two steps, by its own SDK: both go through the router, and the link is good for one key."""

import io
import json
import re

import pytest
from google import genai
from google.genai import errors as genai_errors
from harness import Router, eventually
from raw_http import Heard, Line, ScriptedProvider, dial, ledger_rows, reply, request

TEXT = b"what is written here " * 2_000


@pytest.fixture
def uploads(provider: ScriptedProvider) -> ScriptedProvider:
    """Google, as far as an upload goes."""

    def script(line: Line, heard: Heard) -> None:
        if heard.headers.get("x-goog-upload-command") == "start":
            link = (
                f"https://generativelanguage.googleapis.com{heard.first.split(' ')[1].partition('?')[0]}?upload_id=A-1"
            )
            fields = (f"X-Goog-Upload-URL: {link}".encode(), f"X-Goog-Upload-Control-URL: {link}".encode())
            line.sock.sendall(reply(200, b"", *fields, b"X-Goog-Upload-Status: active"))
        elif heard.first.startswith("POST ") and "uploadType=resumable" in heard.first:
            session = (
                b"https://generativelanguage.googleapis.com/upload/v1beta/files?uploadType=resumable&upload_id=B-2"
            )
            line.sock.sendall(reply(200, b"", b"Location: " + session))
        else:
            file = {"file": {"name": "files/abc", "sizeBytes": str(len(heard.body))}}
            line.sock.sendall(reply(200, json.dumps(file).encode(), b"X-Goog-Upload-Status: final"))

    provider.play(script)
    return provider


@pytest.mark.parametrize("base", ["", "/gemini"])
@pytest.mark.parametrize("version", ["v1beta", None])
def test_it_works(stage: Router, uploads: ScriptedProvider, base: str, version: str | None) -> None:
    key_id, key = stage.create_key(name="files", spend_limit_usd="0.01")
    options = genai.types.HttpOptions(base_url=stage.proxy_url + base, api_version=version)
    client = genai.Client(api_key=key, http_options=options)
    file = client.files.upload(file=io.BytesIO(TEXT), config={"mime_type": "text/plain"})
    client.close()
    assert (file.name, file.size_bytes) == ("files/abc", len(TEXT))
    first, second = uploads.heard
    assert second.first == f"POST /upload/{version or 'v1'}/files?upload_id=A-1 HTTP/1.1"
    assert second.body == TEXT
    assert second.headers["x-goog-api-key"] == first.headers["x-goog-api-key"] == stage.credentials["gemini"]
    eventually(lambda: len(ledger_rows(stage, key_id)) == 2, what="both rows")
    assert {row["cost_nanos"] for row in ledger_rows(stage, key_id)} == {0}


def link_for(stage: Router, key: str) -> str:
    """The link to the second step, from the first one made by hand."""
    start = (b"X-Goog-Upload-Command: start", b"X-Goog-Upload-Protocol: resumable", b"Content-Length: 0")
    with dial(stage) as line:
        line.send(request(b"POST /upload/v1beta/files", b"x-goog-api-key: " + key.encode(), *start))
        headers = line.answer().headers
    assert headers["x-goog-upload-url"] == headers["x-goog-upload-control-url"]
    match = re.fullmatch(
        r"http://router\.test(/upload/v1beta/files\?upload_id=A-1&router_link=\S+)", headers["x-goog-upload-url"]
    )
    assert match is not None
    return match[1]


def test_the_session_of_the_older_protocol_leads_here_too(stage: Router, uploads: ScriptedProvider) -> None:
    """Google's clients for its other APIs begin with `uploadType=resumable` and go on with PUT to `Location`."""
    key_id, key = stage.create_key(name="older", spend_limit_usd="0.01")
    with dial(stage) as line:
        begin = b"POST /upload/v1beta/files?uploadType=resumable"
        line.send(request(begin, b"x-goog-api-key: " + key.encode(), b"Content-Length: 0"))
        link = line.answer().headers["location"]
    assert link.startswith("http://router.test/upload/v1beta/files?uploadType=resumable&upload_id=B-2&router_link=")
    with dial(stage) as line:
        path = link.removeprefix("http://router.test")
        line.send(request(f"PUT {path}".encode(), b"Content-Length: 4", body=b"data"))
        answer = line.answer()
    assert (answer.status, answer.code) == (200, None), answer.body
    assert uploads.heard[1].first == "PUT /upload/v1beta/files?uploadType=resumable&upload_id=B-2 HTTP/1.1"
    assert uploads.heard[1].headers["x-goog-api-key"] == stage.credentials["gemini"]
    eventually(lambda: len(ledger_rows(stage, key_id)) == 2, what="both rows")


def follow(stage: Router, path: str, *fields: bytes) -> tuple[int, str | None, str]:
    with dial(stage) as line:
        line.send(request(f"POST {path}".encode(), b"Content-Length: 4", *fields, body=b"data"))
        answer = line.answer()
    return answer.status, answer.code, answer.body.decode()


def test_a_link_is_good_for_its_key_and_its_address_alone(stage: Router, uploads: ScriptedProvider) -> None:
    key_id, key = stage.create_key(name="mine")
    _, other = stage.create_key(name="theirs")
    link = link_for(stage, key)
    assert follow(stage, link)[0] == 200
    assert follow(stage, link, b"x-goog-api-key: " + key.encode())[0] == 200
    uploads.heard.clear()
    for path, fields, sentence in (
        (link, (b"x-goog-api-key: " + other.encode(),), "another key"),
        (link.replace("A-1", "A-2"), (), "not one of this router's"),
        (link.replace("/files", "/files/x"), (), "not one of this router's"),
        (f"{link[:-4]}0000", (), "not one of this router's"),
        (link.partition("&")[0], (), "No proxy key"),
    ):
        status, code, text = follow(stage, path, *fields)
        assert (status, code) == (401, "invalid_proxy_key")
        assert sentence in text
        assert json.loads(text)["error"]["status"] == "UNAUTHENTICATED"
    stage.edit(key_id, paused=True)
    assert follow(stage, link)[:2] == (403, "key_paused")
    assert uploads.heard == []


def test_an_upload_that_is_refused_says_so_in_the_sdks_own_words(stage: Router, uploads: ScriptedProvider) -> None:
    _, key = stage.create_key(name="elsewhere", allowed_providers=["openai"])
    client = genai.Client(api_key=key, http_options=genai.types.HttpOptions(base_url=stage.proxy_url))
    with pytest.raises(genai_errors.ClientError) as refused:
        client.files.upload(file=io.BytesIO(TEXT), config={"mime_type": "text/plain"})
    client.close()
    assert (refused.value.code, refused.value.status) == (403, "PERMISSION_DENIED")
    assert uploads.heard == []
