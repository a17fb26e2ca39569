"""WebSockets through the router: OpenAI Responses and Realtime, and Gemini Live, with the official SDKs and by hand."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from calls import chat, marker
from google import genai
from harness import Json, Router
from hurt_kit import settled
from session_kit import LIVE, REALTIME, RESPONSES, create, everything, hear, opened, say, tell, tls_before, turns
from websockets.exceptions import InvalidStatus

# The openai SDK has not heard yet of what this release of `websockets` advises.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")


@pytest.fixture(params=["/v1", "/openai/v1", "/openai"])
def openai_client(router: Router, request: pytest.FixtureRequest) -> Iterator[tuple[openai.OpenAI, str]]:
    key_id, key = router.create_key(name="sessions", spend_limit_usd="5", rate_limit_rpm=60)
    with openai.OpenAI(base_url=router.proxy_url + request.param, api_key=key, max_retries=0) as client:
        yield client, key_id


def refusal(router: Router, path: str, key: str | None, **more: object) -> tuple[int, str | None, Json]:
    with pytest.raises(InvalidStatus) as caught:
        opened(router, path, key, **more)
    answer = caught.value.response
    return answer.status_code, answer.headers.get("x-router-error"), json.loads(answer.body or b"{}")


# With the official SDKs


def test_it_works_with_responses(router: Router, openai_client: tuple[openai.OpenAI, str]) -> None:
    client, key_id = openai_client
    texts = [marker(), marker()]
    with client.responses.connect() as session:
        for text in texts:
            session.response.create(model="openai/gpt-4o-mini", input=text, max_output_tokens=50)
            kinds = []
            for event in session:
                kinds.append(event.type)
                if event.type == "response.completed":
                    assert event.response.usage is not None
                    break
                assert event.type != "error", event
            assert kinds[0] == "response.created"
            assert "response.output_text.delta" in kinds
    rows = turns(router, key_id, 2)
    attempts = [attempt for text in texts for attempt in router.attempts(text)]
    assert [row["cost_nanos"] for row in rows] == [attempt["cost_nanos"] for attempt in attempts]
    assert {(row["outcome"], tuple(row["flags"]), row["endpoint"]) for row in rows} == {("ok", (), "/v1/responses")}
    assert not any(attempt["saw_router_secret"] for attempt in attempts)


def test_it_works_with_realtime(router: Router, openai_client: tuple[openai.OpenAI, str]) -> None:
    client, key_id = openai_client
    text = marker()
    with client.realtime.connect(model="gpt-realtime") as session:
        session.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        )
        session.response.create()
        said = ""
        for event in session:
            if event.type == "response.output_audio_transcript.delta":
                said += event.delta
            if event.type == "response.done":
                assert event.response.usage is not None
                break
        assert text in said
    (row,) = turns(router, key_id, 1)
    (attempt,) = router.attempts(text)
    assert (row["cost_nanos"], row["outcome"], row["requested_model"]) == (attempt["cost_nanos"], "ok", "gpt-realtime")
    assert attempt["cost_nanos"] > attempt["usage"]["output_tokens"] * 16_000  # sound is dearer than text


@pytest.mark.parametrize("base", ["", "/gemini"])
def test_it_works_with_gemini_live(router: Router, tmp_path: Path, base: str) -> None:
    key_id, key = router.create_key(name="live")
    text = marker()

    async def talk(url: str, trusted: ssl.SSLContext) -> str:
        options = genai.types.HttpOptions(base_url=url + base, async_client_args={"ssl": trusted})
        client = genai.Client(api_key=key, http_options=options)
        config = genai.types.LiveConnectConfig(response_modalities=[genai.types.Modality.TEXT])
        said = ""
        async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:
            await session.send_client_content(
                turns=genai.types.Content(role="user", parts=[genai.types.Part(text=text)])
            )
            async for message in session.receive():
                said += message.text or ""
        return said

    with tls_before(router, tmp_path) as (url, trusted):
        assert text in asyncio.run(talk(url, trusted))
    (row,) = turns(router, key_id, 1)
    (attempt,) = router.attempts(text)
    assert (row["cost_nanos"], row["outcome"], row["flags"]) == (attempt["cost_nanos"], "ok", [])


def test_the_ledger_of_sessions_can_be_recomputed(router: Router) -> None:
    key_id, key = router.create_key(name="verified")
    with opened(router, RESPONSES, key) as session:
        create(session, "hello")
        hear(session, "response.completed")
        create(session, "sandbox:break sandbox:words=40 hello")
        everything(session)
    with opened(router, REALTIME, key) as session:
        say(session, "hello")
        tell(session, type="response.create")
        hear(session, "response.done")
        say(session, "sandbox:nousage hello")
        tell(session, type="response.create")
        hear(session, "response.done")
    with opened(router, LIVE, key) as session:
        session.send(json.dumps({"setup": {"model": "models/gemini-3.8-live"}}))
        session.send(json.dumps({"realtimeInput": {"text": "hello"}}))
        while "usageMetadata" not in json.loads(session.recv(timeout=10)):
            pass
    rows = settled(router, key_id, 8)
    said = json.loads(router.run("-m", "flask", "--app", "wsgi", "ledger", "verify", "--json", "--key", key_id))
    assert (said["agrees"], said["rows"], said["counters_agree"]) == (True, len(rows), 1)
    assert said["recomputed"] >= 5


# Handshakes


@pytest.mark.parametrize("path", [RESPONSES, REALTIME, LIVE])
def test_a_handshake_is_refused_like_a_request(router: Router, path: str) -> None:
    assert refusal(router, path, None)[:2] == (401, "invalid_proxy_key")
    _, paused = router.create_key(name="paused", paused=True)
    assert refusal(router, path, paused)[:2] == (403, "key_paused")
    _, narrow = router.create_key(name="narrow", allowed_providers=["anthropic"])
    status, code, body = refusal(router, path, narrow)
    assert (status, code) == (403, "provider_not_allowed")
    assert ("status" in body["error"]) == (path == LIVE)  # in the caller's dialect
    _, empty = router.create_key(name="empty", spend_limit_usd="0")
    assert refusal(router, path, empty)[:2] == (403, "model_not_priced" if path == LIVE else "spend_exceeded")
    _, slow = router.create_key(name="slow", rate_limit_rpm=1)
    assert chat(router, slow).status_code == 200
    assert refusal(router, path, slow)[:2] == (429, "rate_limited")


def test_live_is_for_keys_without_a_limit(router: Router) -> None:
    _, key = router.create_key(name="capped", spend_limit_usd="50")
    status, code, body = refusal(router, LIVE, key)
    assert (status, code) == (403, "model_not_priced")
    assert "a Live session" in body["error"]["message"]


def test_realtime_is_judged_by_the_model_of_its_address(router: Router) -> None:
    _, key = router.create_key(name="models", allowed_models=["gpt-realtime-mini"], spend_limit_usd="5")
    assert refusal(router, REALTIME, key)[:2] == (403, "model_not_allowed")
    for query in ("", "?intent=transcription", "?call_id=rtc_1", "?model=a&model=b", "?model=gpt-realtime&call_id=1"):
        assert refusal(router, f"/v1/realtime{query}", key)[:2] == (426, "upgrade_not_supported")
    _, other = router.create_key(name="unpriced", spend_limit_usd="5")
    assert refusal(router, "/v1/realtime?model=never-heard-of", other)[:2] == (403, "model_not_priced")
    with opened(router, "/v1/realtime?model=gpt-realtime-mini", key) as session:
        assert hear(session, "session.created")["session"]["model"] == "gpt-realtime-mini"


def test_a_browsers_key_comes_among_the_protocols_and_goes_no_further(router: Router) -> None:
    key_id, key = router.create_key(name="browser")
    text = marker()
    offered = ["realtime", f"openai-insecure-api-key.{key}", "openai-beta.realtime-v1"]
    with opened(router, REALTIME, None, subprotocols=offered) as session:
        assert session.subprotocol == "realtime"
        say(session, text)
        tell(session, type="response.create")
        hear(session, "response.done")
    (attempt,) = router.attempts(text)
    assert not attempt["saw_router_secret"]
    assert "sec-websocket-protocol" in attempt["header_names"]
    assert len(turns(router, key_id, 1)) == 1
    with opened(router, f"{LIVE}?key={key}", None) as session:  # as Gemini's SDK for browsers does
        session.send(json.dumps({"setup": {"model": "models/gemini-3.8-live"}}))
        assert json.loads(session.recv(timeout=10)) == {"setupComplete": {}}
    assert refusal(router, f"{REALTIME}&key={key}", None)[:2] == (401, "invalid_proxy_key")
    _, another = router.create_key(name="another")
    assert refusal(router, REALTIME, another, subprotocols=offered)[:2] == (401, "invalid_proxy_key")


def test_an_error_of_the_providers_says_what_it_answers(router: Router) -> None:
    key_id, key = router.create_key(name="nowhere")
    with opened(router, "/v1/realtime?model=no-such-model", key) as session:
        say(session, "hello")
        tell(session, type="response.create", event_id="mine")
        assert hear(session, "error")["error"]["event_id"] == "mine"
    assert settled(router, key_id, 1)[0]["cost_nanos"] == 0
