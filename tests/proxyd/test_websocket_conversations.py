"""What is held and charged for the turns of a session, message by message, with real accounting and no socket."""

import base64
import json

import gevent
import pytest
from accounting_kit import Router, Worker
from sqlalchemy import Engine
from talk_kit import COST, MODEL, MakeKey, Open, code, created, done, opener

from proxyd.websocket.conversation import MAX_TURNS
from shared.sealing import Sealer

SECOND = base64.b64encode(bytes(48_000)).decode()


@pytest.fixture
def talk(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey) -> Open:
    return opener(router, engine, sealer, worker, make_key)


# Realtime


def test_it_works(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**10)
    assert session.says(type="session.update", session={"type": "realtime", "instructions": "x" * 100}).forward
    assert session.money == (0, 0)
    verdict = session.says(type="response.create")
    assert verdict.turn is not None
    _, held = session.money
    assert held == verdict.turn.admission.bound_nanos
    assert held > 4_096 * 64_000
    session.hears(**created("resp_1"))
    assert session.running == 1
    session.hears(type="response.output_audio.delta", response_id="resp_1", delta=SECOND)
    assert session.money == (0, held)
    assert session.hears(**done("resp_1")) is None
    assert (session.money, session.running) == ((COST, 0), 0)
    session.ends()
    assert session.money == (COST, 0)


def test_sound_goes_out_only_when_the_turn_that_may_come_of_it_is_held(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**10)
    assert session.says(type="input_audio_buffer.append", audio=SECOND).forward is not None
    _, first = session.money
    assert first > (4_096 + 8_192) * 32_000
    for _ in range(5):
        session.says(type="input_audio_buffer.append", audio=SECOND)
    assert session.money == (0, first)  # it had room for that
    session.hears(**created("resp_1"))
    _, both = session.money
    assert both > first * 1.5  # the one that runs, and the next one
    session.hears(**done("resp_1"))
    spent, after = session.money
    assert (spent, after) == (COST, both - first)
    session.ends()
    assert session.money == (COST, 0)  # what never began is taken back


def test_a_hold_that_was_outgrown_is_replaced(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**11)
    session.says(type="input_audio_buffer.append", audio=SECOND)
    _, before = session.money
    session.says(type="input_audio_buffer.append", audio=base64.b64encode(bytes(20_000_000)).decode())
    _, grown = session.money
    assert before < grown <= (32_000 * 32_000) + 4_096 * 64_000  # all of the context window at most
    limit = {"type": "realtime", "max_output_tokens": 100}
    session.hears(type="session.updated", session=limit)
    session.says(type="session.update", session={"type": "realtime", "max_output_tokens": "inf"})
    assert session.money == (0, grown)
    session.ends()
    assert session.money == (0, 0)


def test_without_the_providers_ear_nothing_is_held_for_sound(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**10)
    session.hears(type="session.created", session={"audio": {"input": {"turn_detection": None}}})
    session.says(type="input_audio_buffer.append", audio=SECOND)
    session.says(type="input_audio_buffer.commit")
    assert session.money == (0, 0)
    session.says(type="response.create", response={"max_output_tokens": 10})
    assert 0 < session.money[1] < 4_096 * 64_000
    session.says(type="session.update", session={"turn_detection": {"type": "server_vad"}})
    assert session.money[1] > 4_096 * 64_000


def test_a_provider_that_prompts_by_itself_has_its_turn_held_before_it_is_told_to(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**10)
    detection = {"type": "server_vad", "idle_timeout_ms": 5_000}
    session.says(type="session.update", session={"audio": {"input": {"turn_detection": detection}}})
    assert session.money[1] > 4_096 * 64_000
    session.ends()
    assert session.money == (0, 0)


def test_two_responses_of_one_name_are_both_settled(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**10)
    for _ in range(3):
        session.says(type="response.create")
        session.hears(type="response.created", response={})
    session.hears(**done(""))
    session.ends()
    assert session.money[1] == 0
    assert session.running == 0


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"event_id": "mine"}, {"event_id": "mine", "code": "whatever"}),
        ({}, {"code": "conversation_already_has_active_response"}),
    ],
)
def test_a_turn_that_the_provider_refuses_is_taken_back(
    talk: Open, asked: dict[str, str], error: dict[str, str]
) -> None:
    session = talk(spend_limit_nanos=10**10)
    session.says(type="response.create", **asked)
    session.hears(type="error", error={"event_id": "another", "code": "whatever"})
    assert session.money[1] > 0
    session.hears(type="error", error=error)
    assert session.money == (0, 0)


def test_a_turn_that_nobody_asked_for_is_admitted_when_it_begins_or_ends_the_session(talk: Open) -> None:
    session = talk(spend_limit_nanos=10**10)
    assert session.hears(**created("resp_1")) is None
    assert session.money[1] > 0
    poor = talk(spend_limit_nanos=1_000_000)
    poor.says(
        type="conversation.item.create",
        item={"type": "message", "content": [{"type": "input_text", "text": "x" * 900}]},
    )
    ends = poor.hears(**created("resp_1"))
    assert (ends.at_once, ends.why.deny.reason.value) == (True, "spend_exceeded")
    spent, held = poor.money
    assert (spent > 0, held) == (True, 0)  # what it has read by then


def test_sound_waits_while_the_next_turn_may_yet_fit(talk: Open) -> None:
    probe = talk(spend_limit_nanos=10**10)
    probe.says(type="input_audio_buffer.append", audio=SECOND)
    session = talk(spend_limit_nanos=probe.money[1] + 50_000_000)
    session.says(type="input_audio_buffer.append", audio=SECOND)
    assert session.hears(**created("resp_1")) is None
    waiting = gevent.spawn(session.says, type="input_audio_buffer.append", audio=SECOND)
    gevent.sleep(0.05)
    assert not waiting.ready()
    session.hears(**done("resp_1"))
    assert waiting.get(timeout=5).forward is not None
    assert session.money[1] > 0


def test_when_the_next_turn_does_not_fit_no_more_goes_out(talk: Open) -> None:
    session = talk(spend_limit_nanos=400_000_000)
    verdict = session.says(type="input_audio_buffer.append", audio=SECOND)
    assert (verdict.forward, verdict.ends is not None) == (None, True)
    assert session.says(type="response.cancel").forward is not None
    assert session.says(type="conversation.item.create", item={}).forward is None
    assert session.money == (0, 0)


def test_a_transcription_is_a_row_of_its_own(talk: Open) -> None:
    session = talk()
    settings = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    assert session.hears(type="session.updated", session=settings) is None
    usage = {"type": "tokens", "input_tokens": 100, "output_tokens": 10, "total_tokens": 110,
             "input_token_details": {"audio_tokens": 100, "text_tokens": 0}}  # fmt: skip
    session.hears(type="conversation.item.input_audio_transcription.completed", usage=usage)
    assert session.money[0] == 100 * 6_000 + 10 * 10_000
    session.hears(
        type="conversation.item.input_audio_transcription.completed", usage={"type": "duration", "seconds": 3}
    )
    assert session.money[0] == 100 * 6_000 + 10 * 10_000
    capped = talk(spend_limit_nanos=10**10)
    ends = capped.hears(type="session.updated", session=settings)
    assert (ends.at_once, ends.why.deny.reason.value) == (True, "model_not_priced")


def test_the_model_of_a_transcription_is_judged_too(talk: Open) -> None:
    session = talk(allowed_models=[MODEL])
    for wanted, told in (({"model": "gpt-4o-transcribe"}, "gpt-4o-transcribe"), ({}, "a transcription")):
        verdict = session.says(type="session.update", session={"audio": {"input": {"transcription": wanted}}})
        assert (verdict.forward, code(verdict)) == (None, "model_not_allowed"), told
    assert session.says(type="session.update", session={"audio": {"input": {"transcription": None}}}).forward
    ends = session.hears(type="session.updated", session={"input_audio_transcription": {"model": "whisper-1"}})
    assert (ends.at_once, ends.why.deny.reason.value) == (True, "model_not_allowed")


def test_events_that_could_be_read_in_two_ways_go_nowhere(talk: Open) -> None:
    session = talk()
    for data in (
        b"{", b"[]", b'{"type":"response.create","type":"response.cancel"}',
        b'{"type":"session.update","session":{"max_output_tokens":1,"max_output_tokens":"inf"}}',
        b'{"type":"x","list":[' + b"1," * 60_000 + b"1]}",
    ):  # fmt: skip
        verdict = session._conversation.from_client(data)
        assert (verdict.forward, code(verdict)) == (None, "invalid_request"), data[:60]


# Responses


def test_a_responses_turn_is_held_from_its_message_to_its_figures(talk: Open) -> None:
    session = talk("responses", spend_limit_nanos=10**9)
    verdict = session.says(type="response.create", model="openai/gpt-4o-mini", input="hello", stream_id="a")
    assert verdict.forward is not None
    sent = json.loads(verdict.forward)
    assert (sent["model"], sent["stream_id"]) == ("gpt-4o-mini", "a")
    assert session.money[1] > 0
    session.hears(type="response.created", response={"id": "resp_1"}, stream_id="a")
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    response = {"id": "resp_1", "model": "gpt-4o-mini", "usage": usage}
    session.hears(type="response.completed", response=response, stream_id="b")  # of nobody
    assert session.running == 1
    session.hears(type="response.completed", response=response, stream_id="a")
    assert (session.money, session.running) == ((100 * 150 + 10 * 600, 0), 0)


def test_an_output_limit_is_added_where_the_models_own_is_too_dear(talk: Open) -> None:
    session = talk("responses", spend_limit_nanos=10_000_000)
    verdict = session.says(type="response.create", model="gpt-4o-mini", input="hello")
    assert verdict.forward is not None
    assert json.loads(verdict.forward)["max_output_tokens"] >= 16


def test_an_error_belongs_to_a_turn_that_was_sent(talk: Open) -> None:
    session = talk("responses", spend_limit_nanos=10**9)
    verdict = session.says(type="response.create", model="gpt-4o-mini", input="hello", max_output_tokens=20)
    assert verdict.turn is not None
    verdict.turn.sent = False
    session.hears(type="error", status=400, error={"code": "of the session"})
    assert session.running == 1
    verdict.turn.sent = True
    session.hears(type="error", status=400, error={"code": "previous_response_not_found"})
    assert (session.running, session.money) == (0, (0, 0))


def test_a_response_that_was_steered_is_charged_on_keys_without_a_limit(talk: Open) -> None:
    session = talk("responses")
    session.says(type="response.create", model="gpt-4o-mini", input="hello")
    session.hears(type="response.created", response={"id": "resp_1"})
    assert session.says(type="response.steer", previous_response_id="resp_1", input="shorter").forward is not None
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    for number in ("resp_1", "resp_2"):
        session.hears(type="response.created", response={"id": number, "model": "gpt-4o-mini"})
        session.hears(type="response.incomplete", response={"id": number, "model": "gpt-4o-mini", "usage": usage})
    assert session.money[0] == 2 * (100 * 150 + 10 * 600)


def test_no_more_turns_wait_than_anybody_can_want(talk: Open) -> None:
    session = talk("responses")
    for _ in range(MAX_TURNS):
        assert session.says(type="response.create", model="gpt-4o-mini", input="hello").forward is not None
    assert code(session.says(type="response.create", model="gpt-4o-mini", input="hello")) == "router_busy"
    voice = talk()
    for _ in range(MAX_TURNS):
        assert voice.says(type="response.create").forward is not None
    assert code(voice.says(type="response.create")) == "router_busy"
