"""Limits of keys inside a WebSocket: what is refused there, what is held, and what ends a session."""

import contextlib

from calls import about, marker, spend_of
from harness import Json, Router
from session_kit import REALTIME, RESPONSES, create, everything, hear, opened, speak, tell, turns
from websockets.exceptions import ConnectionClosed

from shared import money


def test_a_turn_that_does_not_fit_is_refused_and_ends_the_session(router: Router) -> None:
    key_id, key = router.create_key(name="dollar", spend_limit_usd="0.01")
    with opened(router, RESPONSES, key) as session:
        create(session, "hello", max_output_tokens=20)
        hear(session, "response.completed")
        create(session, "too much", max_output_tokens=1_000_000, stream_id="lane")
        found, code, reason = everything(session)
    (error,) = found
    assert (error["type"], error["status"], error["stream_id"]) == ("error", 403, "lane")
    assert error["error"]["code"] == "spend_exceeded"
    assert error["error"]["spent_usd"] == spend_of(router, key_id)["spent_usd"]
    assert (code, reason) == (1008, "spend_exceeded")
    assert len(turns(router, key_id, 1)) == 1


def test_refusals_of_one_turn_leave_the_session_open(router: Router) -> None:
    key_id, key = router.create_key(name="open", allowed_models=["gpt-4o-mini"], spend_limit_usd="1", rate_limit_rpm=1)
    events: list[tuple[Json, str]] = [
        ({"type": "response.create", "model": "gpt-4o", "input": "x"}, "model_not_allowed"),
        ({"type": "response.create", "model": "claude-sonnet-4-6", "input": "x"}, "invalid_request"),
        ({"type": "response.create", "input": "x"}, "invalid_request"),
        (
            {"type": "response.create", "model": "gpt-4o-mini", "input": "x", "tools": [{"type": "odd"}]},
            "model_not_priced",
        ),
        ({"type": "response.create", "model": "gpt-4o-mini", "prompt": {"id": "p"}}, "model_not_priced"),
        ({"type": "response.steer", "previous_response_id": "resp_1", "input": "x"}, "model_not_priced"),
        ({"type": "response.create", "model": "gpt-4o-mini", "input": "x", "stream_id": 7}, "invalid_request"),
        ({"type": "novelty"}, "model_not_priced"),
    ]
    with opened(router, RESPONSES, key) as session:
        for event, code in events:
            tell(session, **event)
            assert hear(session, "error")["error"]["code"] == code, event
        for text in ("no json", "[]", '{"type":"response.create","model":"gpt-4o-mini","model":"gpt-4o","input":"x"}'):
            session.send(text)
            assert hear(session, "error")["error"]["code"] == "invalid_request"
        create(session, "hello", max_output_tokens=20)
        hear(session, "response.completed")
        create(session, "another", max_output_tokens=20)
        assert hear(session, "error")["error"]["retry_after_seconds"] > 0
    assert len(turns(router, key_id, 1)) == 1


def test_lanes_of_one_session_are_told_apart(router: Router) -> None:
    key_id, key = router.create_key(name="lanes", spend_limit_usd="1")
    texts = {"a": marker(), "b": marker()}
    with opened(router, RESPONSES, key) as session:
        for lane, text in texts.items():
            create(session, text, max_output_tokens=50, stream_id=lane)
        ended = [hear(session, "response.completed")["stream_id"] for _ in texts]
    assert sorted(ended) == ["a", "b"]
    costs = sorted(attempt["cost_nanos"] for text in texts.values() for attempt in router.attempts(text))
    assert sorted(row["cost_nanos"] for row in turns(router, key_id, 2)) == costs


def test_realtime_holds_its_next_turn_before_sound_goes_out(router: Router) -> None:
    key_id, key = router.create_key(name="voice", spend_limit_usd="2")
    with opened(router, REALTIME, key) as session:
        hear(session, "session.created")
        assert about(router, key)["spend"]["held_usd"] == "0.00"
        speak(session)
        hear(session, "response.done")
        held = money.from_usd(about(router, key)["spend"]["held_usd"])
        assert (
            held > 300_000_000
        )  # of a turn that the provider may begin by itself: 4,096 tokens of sound alone are 0.26
        speak(session)
        hear(session, "response.done")
    rows = turns(router, key_id, 2)
    assert [(row["outcome"], row["flags"]) for row in rows] == [("ok", []), ("ok", [])]
    assert spend_of(router, key_id)["held_usd"] == "0.00"


def test_realtime_waits_while_its_next_turn_may_fit_and_ends_when_it_does_not(router: Router) -> None:
    _, rich = router.create_key(name="rich", spend_limit_usd="2")
    with opened(router, REALTIME, rich) as session:
        speak(session)
        hear(session, "response.done")
        held = money.from_usd(about(router, rich)["spend"]["held_usd"])
    key_id, key = router.create_key(name="for one at a time", spend_limit_usd=money.to_usd(held + 40_000_000))
    with opened(router, REALTIME, key) as session:
        for _ in range(2):  # the second is held only when the first has ended
            speak(session)
            hear(session, "response.done")
        event: Json = {}
        while event.get("type") != "error":
            with contextlib.suppress(ConnectionClosed):  # it may be over in the middle of a sentence
                speak(session)
            event = hear(session, "response.done", "error")
        found, code, reason = everything(session)
    assert (event["error"]["code"], found, code, reason) == ("spend_exceeded", [], 1008, "spend_exceeded")
    assert len(turns(router, key_id, 2)) >= 2
    assert money.from_usd(spend_of(router, key_id)["spent_usd"]) <= held + 40_000_000


def test_realtime_refuses_what_has_no_bound_on_capped_keys_and_meters_it_on_others(router: Router) -> None:
    asked = {"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    _, capped = router.create_key(name="capped", spend_limit_usd="5")
    with opened(router, REALTIME, capped) as session:
        hear(session, "session.created")
        tell(session, type="session.update", session=asked, event_id="mine")
        error = hear(session, "error")["error"]
        assert (error["code"], error["unpriced"], error["event_id"]) == (
            "model_not_priced",
            "input transcription",
            "mine",
        )
        tell(session, type="session.update", session={"type": "realtime", "tools": [{"type": "mcp"}]})
        assert hear(session, "error")["error"]["unpriced"] == "the tool mcp"
        tell(session, type="session.update", session={"type": "realtime", "model": "gpt-realtime-2"})
        assert hear(session, "error")["error"]["param"] == "session.model"
    key_id, key = router.create_key(name="uncapped")
    with opened(router, REALTIME, key) as session:
        tell(session, type="session.update", session=asked)
        hear(session, "session.updated")
        speak(session)
        hear(session, "response.done")
    rows = {row["requested_model"]: row for row in turns(router, key_id, 2)}
    assert set(rows) == {"gpt-realtime", "gpt-4o-transcribe"}
    (attempt,) = [a for a in router.attempts("transcription") if a["model"] == "gpt-4o-transcribe"][-1:]
    assert rows["gpt-4o-transcribe"]["cost_nanos"] == attempt["cost_nanos"] > 0
