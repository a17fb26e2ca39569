"""What Google's SDK gives back of Claude's thoughts in the next turn, as it reaches a provider that answers as the real one."""

from typing import Any

import orjson
import pytest
from google import genai
from google.genai import types
from harness import Router
from raw_http import Heard, ScriptedProvider
from tool_answers_kit import CLAUDE, PNG, THOUGHT, anthropic_thinks, priced

TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", description="Tells it.")])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_it_works(stage: Router, provider: ScriptedProvider, streamed: bool) -> None:
    provider.play(anthropic_thinks)
    heard: list[Heard] = provider.heard
    key = stage.create_key(name="thoughts", spend_limit_usd="5")
    config = types.GenerateContentConfig(
        tools=[TOOL],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2_000),
        top_k=3,
    )
    with genai.Client(api_key=key[1], http_options=types.HttpOptions(base_url=stage.proxy_url)) as client:
        chat = client.chats.create(model=CLAUDE, config=config)

        def ask(said: Any) -> list[types.Part]:
            told = list(chat.send_message_stream(said)) if streamed else [chat.send_message(said)]
            found = [one.content for chunk in told for one in chunk.candidates or () if one.content]
            return [part for content in found for part in content.parts or ()]

        first = ask([types.Part.from_bytes(data=b"\x89PNG\r\n\x1a\n", mime_type="image/png"), "The weather?"])
        ask(types.Part.from_function_response(name="weather", response={"output": "rain"}))
    assert "".join(part.text or "" for part in first if part.thought) == THOUGHT["thinking"]
    bodies = [orjson.loads(each.body) for each in heard if each.first.startswith("POST /v1/messages ")]
    assert [body["top_k"] for body in bodies] == [3, 3]
    asked, answered, given = bodies[-1]["messages"]
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert asked["content"] == [{"type": "image", "source": source}, {"type": "text", "text": "The weather?"}]
    thought, *texts, call = answered["content"]
    assert thought == THOUGHT
    assert "".join(block["text"] for block in texts) == "Let me see."
    assert call == {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
    assert given["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}]
    priced(stage, key, 2)
