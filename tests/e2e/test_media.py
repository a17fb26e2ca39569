"""OpenAI's sound, pictures and older endpoints with its own SDK: what the ledger says is what the provider bills."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from ask_kit import ask, told
from harness import Json, Router, eventually
from raw_http import Ended, Heard, Line, ScriptedProvider, bearer, dial, ledger_rows, reply, request

# The SDK calls translations, pictures by the piece and some of the models deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

SECOND = b"\0" * 32_000  # of sound, for the sandbox
PNG = ("a.png", b"\x89PNG" * 50, "image/png")
Call = Callable[[openai.OpenAI], object]


def sound(seconds: int = 3) -> tuple[str, bytes]:
    return "a.wav", SECOND * seconds


def spoken_events(client: openai.OpenAI) -> bytes:
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", input="Hello there", voice="alloy", stream_format="sse"
    ) as answer:
        return b"".join(answer.iter_bytes())


# Whose usage the answer or the request tells.
CALLS: dict[str, Call] = {
    "completion": lambda client: client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=["Once upon", "a time"], n=2, max_tokens=9
    ),
    "stream of a completion": lambda client: list(
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once upon", stream=True)
    ),
    "compact": lambda client: client.responses.compact(model="gpt-5", input="A long conversation"),
    "speech": lambda client: client.audio.speech.create(model="tts-1", input="Grüße an alle", voice="alloy").content,
    "fine speech": lambda client: client.audio.speech.create(model="tts-1-hd", input="Hello", voice="nova").content,
    "speech as events": spoken_events,
    "whisper": lambda client: client.audio.transcriptions.create(model="whisper-1", file=sound()),
    "whisper, all of it": lambda client: client.audio.transcriptions.create(
        model="whisper-1", file=sound(100), response_format="verbose_json", timestamp_granularities=["word"]
    ),
    "transcription by the second": lambda client: client.audio.transcriptions.create(
        model="gpt-transcribe", file=sound(7)
    ),
    "transcription": lambda client: client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=sound(), prompt="Names: Ada, Grace", include=["logprobs"]
    ),
    "stream of a transcription": lambda client: list(
        client.audio.transcriptions.create(model="gpt-4o-mini-transcribe", file=sound(), stream=True)
    ),
    "translation": lambda client: client.audio.translations.create(
        model="whisper-1", file=sound(), response_format="verbose_json"
    ),
    "picture": lambda client: client.images.generate(
        model="gpt-image-1.5", prompt="A cat", n=2, size="1024x1024", quality="low"
    ),
    "stream of a picture": lambda client: list(
        client.images.generate(model="gpt-image-1.5", prompt="A cat", quality="high", stream=True, partial_images=2)
    ),
    "edit": lambda client: client.images.edit(
        model="gpt-image-2.6-sunburst", image=[PNG, PNG], mask=PNG, prompt="A dog", quality="medium"
    ),
    "stream of an edit": lambda client: list(
        client.images.edit(model="gpt-image-2", image=PNG, prompt="A dog", quality="high", stream=True)
    ),
    "fine picture by the piece": lambda client: client.images.generate(
        model="dall-e-3", prompt="A cat", size="1024x1792", quality="hd"
    ),
    "variations": lambda client: client.images.create_variation(model="dall-e-2", image=PNG, n=3, size="512x512"),
}  # fmt: skip

# Whose usage nobody tells: charged what they may have cost at most.
UNTOLD: dict[str, Call] = {
    "speech": lambda client: client.audio.speech.create(model="gpt-4o-mini-tts", input="Hello", voice="alloy").content,
    "translation": lambda client: client.audio.translations.create(model="whisper-1", file=sound()),
    "subtitles": lambda client: client.audio.transcriptions.create(
        model="whisper-1", file=sound(), response_format="srt"
    ),
    "plain text": lambda client: client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=sound(), response_format="text"
    ),
    "picture": lambda client: client.images.generate(model="gpt-image-2", prompt="sandbox:nousage A cat"),
}


@pytest.fixture(params=["100", None], ids=["capped", "uncapped"])
def owner(router: Router, request: pytest.FixtureRequest) -> Iterator[tuple[str, openai.OpenAI]]:
    """A key with a spend limit or without, and a client that holds it."""
    key_id, key = router.create_key(name="media", spend_limit_usd=request.param)
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        yield key_id, client


def made(router: Router, key_id: str, client: openai.OpenAI, calls: dict[str, Call]) -> tuple[list[Json], list[Json]]:
    """The ledger's rows and the provider's invoice of these calls, in their order."""
    before = len(router.invoice()["attempts"])
    for call in calls.values():
        assert call(client)
    billed = router.invoice()["attempts"][before:]
    eventually(lambda: len(ledger_rows(router, key_id)) == len(calls), what="the rows")
    return sorted(ledger_rows(router, key_id), key=lambda row: str(row["admitted_at"])), billed


def test_it_works(router: Router, owner: tuple[str, openai.OpenAI]) -> None:
    rows, billed = made(router, *owner, CALLS)
    booked = [(name, row["endpoint"], row["cost_nanos"]) for name, row in zip(CALLS, rows, strict=True)]
    assert booked == [
        (name, attempt["path"], attempt["cost_nanos"]) for name, attempt in zip(CALLS, billed, strict=True)
    ]
    assert all(row["cost_nanos"] > 0 for row in rows)
    assert [row["flags"] for row in rows] == [[]] * len(CALLS)
    assert all(row["bound_nanos"] >= row["cost_nanos"] for row in rows)


def test_what_tells_no_usage_is_estimated_on_the_high_side(router: Router, owner: tuple[str, openai.OpenAI]) -> None:
    rows, billed = made(router, *owner, UNTOLD)
    for name, row, attempt in zip(UNTOLD, rows, billed, strict=True):
        assert row["flags"] == ["estimated"], name
        assert 0 < attempt["cost_nanos"] <= row["cost_nanos"] <= row["bound_nanos"], name


def test_rows_of_sound_and_pictures_can_be_computed_again(router: Router) -> None:
    key_id, key = router.create_key(name="verified")
    calls = {name: CALLS[name] for name in ("whisper", "speech", "variations", "stream of a picture")}
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        made(router, key_id, client, calls)
    report = json.loads(router.run("-m", "flask", "--app", "wsgi", "ledger", "verify", "--json"))
    assert report["differences"] == []


def test_what_does_not_fit_is_refused_before_it_is_sent_and_explained(router: Router) -> None:
    key_id, key = router.create_key(name="poor", spend_limit_usd="0.000001")
    before = router.invoice()["count"]
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        for name, call in {**CALLS, **UNTOLD}.items():
            with pytest.raises(openai.PermissionDeniedError) as refused:
                call(client)
            assert refused.value.code == "spend_exceeded", name
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.audio.transcriptions.create(model="whisper-1", file=sound(60))
    body: Any = refused.value.body
    assert body["bound"]["fees"]["audio_seconds"] == {"seconds": 3_841, "usd_per_thousand": "0.1", "usd": "0.3841"}
    assert body["affordable_max_tokens"] is None
    assert "3,841 audio seconds at $0.1 a thousand" in body["message"]
    assert router.invoice()["count"] == before
    assert ledger_rows(router, key_id) == []


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({"model": "gpt-image-2.6-flare", "output_format": "svg"}, "the output format svg"),
        ({"model": "gpt-image-9"}, None),
        ({}, None),
    ],
)
def test_what_nobody_can_bound_is_refused_by_name(router: Router, fields: Json, unpriced: str | None) -> None:
    _, key = router.create_key(name="capped", spend_limit_usd="100")
    body = json.dumps({"prompt": "A cat", **fields}).encode()
    answer = ask(router, b"POST /v1/images/generations", bearer(key), body=body)
    assert (answer.status, answer.code) == (403, "model_not_priced")
    assert told(answer)["error"]["unpriced"] == unpriced


def test_the_model_of_a_form_is_judged(router: Router) -> None:
    _, key = router.create_key(name="whisperer", allowed_models=["whisper-*"])
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        assert client.audio.transcriptions.create(model="whisper-1", file=sound()).text
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound())
    assert refused.value.code == "model_not_allowed"


FORM = b"Content-Type: multipart/form-data; boundary=xYz"
FILE = b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + SECOND + b"\r\n"


def field(name: bytes, value: bytes) -> bytes:
    return b'--xYz\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name, value)


@pytest.mark.parametrize(
    "body",
    [
        field(b"model", b"whisper-1") + FILE + field(b"model", b"gpt-4o-transcribe") + b"--xYz--\r\n",
        field(b"model", b"whisper-1") + FILE + field(b"mo\\del", b"x") + b"--xYz--\r\n",
        field(b"model", b"whisper-1") + FILE + field(b"model[]", b"x") + b"--xYz--\r\n",
        field(b"model", b"whisper-1") + FILE,
        FILE + b"--xYz--\r\n",
        b'{"model":"whisper-1"}',
        b"",
    ],
    ids=["two models", "a disguised name", "brackets", "incomplete", "no model", "no form", "nothing"],
)
def test_a_form_without_one_reading_reaches_nobody(stage: Router, quiet: ScriptedProvider, body: bytes) -> None:
    _, key = stage.create_key(name="sly")
    answer = ask(stage, b"POST /v1/audio/transcriptions", bearer(key), FORM, body=body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert quiet.heard == []


def test_a_form_is_sent_byte_for_byte_whatever_its_size(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="large", spend_limit_usd="100")
    head = b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + bytes(range(256)) * 16_000 + b"\r\n" + field(b"model", b"whisper-1") + b"--xYz--\r\n"
    assert ask(stage, b"POST /v1/audio/transcriptions", bearer(key), FORM, body=body).status == 200
    assert quiet.heard[0].body == body


def test_a_large_picture_may_be_sent_as_json(stage: Router, quiet: ScriptedProvider) -> None:
    key_id, key = stage.create_key(name="data url", spend_limit_usd="1")
    picture = {"image_url": "data:image/png;base64," + "A" * 2_000_000}
    document = {"model": "gpt-image-2", "prompt": "A dog", "images": [picture], "quality": "low", "size": "1024x1024"}
    body = json.dumps(document).encode()
    assert ask(stage, b"POST /v1/images/edits", bearer(key), body=body).status == 200
    assert quiet.heard[0].body == body
    eventually(lambda: ledger_rows(stage, key_id) != [], what="the row")
    (row,) = ledger_rows(stage, key_id)
    assert 0 < row["cost_nanos"] <= row["bound_nanos"] < 300_000_000  # the picture is no text
    assert row["flags"] == ["estimated"]


def test_a_form_beyond_what_is_kept_is_413(stage: Router, quiet: ScriptedProvider) -> None:
    _, key = stage.create_key(name="larger")
    with dial(stage) as line:
        line.send(request(b"POST /v1/audio/transcriptions", bearer(key), FORM, b"Content-Length: 33554433"))
        answer = line.answer()
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert quiet.heard == []


def test_sound_that_breaks_off_was_charged_when_it_began(stage: Router, provider: ScriptedProvider) -> None:
    key_id, key = stage.create_key(name="broken", spend_limit_usd="1")

    def script(line: Line, _: Heard) -> None:
        line.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\xff\xf3\x84\xc4\r\n"
        )
        raise Ended

    provider.play(script)
    body = b'{"model":"tts-1","input":"Hello","voice":"alloy"}'
    with dial(stage) as line:
        line.send(request(b"POST /v1/audio/speech", bearer(key), b"Content-Length: %d" % len(body), body=body))
        line.head()
        eventually(lambda: ledger_rows(stage, key_id) != [], what="the row")
    (row,) = ledger_rows(stage, key_id)
    assert (row["cost_nanos"], row["flags"]) == (5 * 15_000, [])


@pytest.mark.parametrize("model", ["tts-1", "gpt-4o-mini-tts"])
def test_speech_that_fails_costs_nothing(stage: Router, provider: ScriptedProvider, model: str) -> None:
    key_id, key = stage.create_key(name="failing", spend_limit_usd="1")
    provider.play(lambda line, _: line.send(reply(400, b'{"error":{"message":"no such voice"}}')))
    body = json.dumps({"model": model, "input": "Hello", "voice": "nobody"}).encode()
    assert ask(stage, b"POST /v1/audio/speech", bearer(key), body=body).status == 400
    eventually(lambda: ledger_rows(stage, key_id) != [], what="the row")
    (row,) = ledger_rows(stage, key_id)
    assert (row["cost_nanos"], row["outcome"]) == (0, "provider_error")


def test_pictures_arrive_as_they_were_sent(router: Router, owner: tuple[str, openai.OpenAI]) -> None:
    answer = owner[1].images.generate(model="gpt-image-1.5", prompt="A cat")
    assert answer.data is not None
    assert base64.b64decode(answer.data[0].b64_json or "").startswith(b"\x89PNG")
