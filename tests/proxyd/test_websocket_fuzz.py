"""Whatever either side of a session says: reading it never fails, and nothing stays held in the end."""

import json
from typing import Any

import pytest
from accounting_kit import Router, Worker
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from talk_kit import MakeKey, Open, opener

from shared.sealing import Sealer

NAMES = st.sampled_from(
    [
        "type", "event_id", "stream_id", "response", "response_id", "id", "session", "model", "audio", "input", "output",
        "item", "content", "image_url", "delta", "usage", "status", "error", "code", "tools", "prompt", "format",
        "turn_detection", "create_response", "transcription", "max_output_tokens", "output_modalities", "modalities",
        "input_tokens", "output_tokens", "total_tokens", "input_token_details", "cached_tokens_details", "audio_tokens",
        "text_tokens", "cached_tokens", "output_token_details", "input_audio_transcription", "input_audio_format",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats(allow_nan=False) | st.text(max_size=5) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        "response.create", "response.created", "response.done", "response.completed", "response.failed", "error",
        "response.output_audio.delta", "response.output_text.delta", "session.created", "session.updated",
        "session.update", "conversation.item.create", "input_audio_buffer.append", "response.steer",
        "conversation.item.input_audio_transcription.completed", "response.cancel", "novelty",
    ]
)  # fmt: skip
GEMINIS = ("setup", "clientContent", "realtimeInput", "toolResponse", "serverContent", "usageMetadata", "setupComplete")
EVENTS = st.dictionaries(NAMES, JSON, max_size=5).flatmap(lambda event: KINDS.map(lambda kind: {**event, "type": kind}))
MESSAGES = EVENTS | st.dictionaries(st.sampled_from(GEMINIS), JSON, max_size=2) | JSON | st.text(max_size=20)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [("realtime", None), ("realtime", 10**10), ("responses", None), ("responses", 10**10), ("live", None)],
)
def test_it_works(talk: Open, kind: str, limit: int | None) -> None:
    session = talk(kind, spend_limit_nanos=limit)
    if kind == "live":
        session.says(setup={"model": "models/gemini-3.8-live"})

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), MESSAGES), min_size=1, max_size=6))
    def converse(said: list[tuple[bool, Any]]) -> None:
        for by_client, message in said:
            data = message if isinstance(message, str) else json.dumps(message)
            session.passes(data.encode(errors="replace"), by_client=by_client)
        session.ends()
        assert session.running == 0

    converse()
    assert session.money[1] == 0


@pytest.fixture
def talk(router: Router, engine: Engine, sealer: Sealer, worker: Worker, make_key: MakeKey) -> Open:
    return opener(router, engine, sealer, worker, make_key)
