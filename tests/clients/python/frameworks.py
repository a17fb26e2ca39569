"""Frameworks above the providers' SDKs as clients of the router: a call, a stream, a tool and two refusals of each.

Run by tests/e2e/test_clients.py with a JSON document of `base` and, by client, of `keys` (good, wrong, poor). Each case
prints a line of JSON; what a framework warns of is no concern of ours.
"""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

warnings.simplefilter("ignore")

OPENAI, ANTHROPIC, GEMINI = "gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.5-flash"
Cases = tuple[Callable[[str], str], Callable[[str], str], Callable[[str], tuple[str, Any]]]  # each takes a key


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def pydantic_ai(base: str) -> Iterator[tuple[str, Cases]]:
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.google import GoogleProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    def cases(model: Callable[[str], Any]) -> Cases:
        def stream(key: str) -> str:
            return "".join(Agent(model(key)).run_stream_sync("hello").stream_text(delta=True))

        def tool(key: str) -> tuple[str, Any]:
            called: list[str] = []

            def get_weather(city: str) -> str:
                called.append(city)
                return "sunny"

            Agent(model(key), tools=[get_weather]).run_sync("What is the weather in Paris?")
            return "get_weather", {"city": called[0]}

        return lambda key: Agent(model(key)).run_sync("hello").output, stream, tool

    yield (
        "pydantic-ai openai",
        cases(lambda key: OpenAIChatModel(OPENAI, provider=OpenAIProvider(base_url=f"{base}/v1", api_key=key))),
    )
    yield (
        "pydantic-ai responses",
        cases(lambda key: OpenAIResponsesModel(OPENAI, provider=OpenAIProvider(base_url=f"{base}/v1", api_key=key))),
    )
    yield (
        "pydantic-ai anthropic",
        cases(lambda key: AnthropicModel(ANTHROPIC, provider=AnthropicProvider(base_url=base, api_key=key))),
    )
    yield (
        "pydantic-ai google",
        cases(lambda key: GoogleModel(GEMINI, provider=GoogleProvider(base_url=base, api_key=key))),
    )


def langchain(base: str) -> Iterator[tuple[str, Cases]]:
    from langchain_anthropic import ChatAnthropic
    from langchain_google_genai import ChatGoogleGenerativeAI
    from langchain_openai import ChatOpenAI

    def cases(model: Callable[[str], Any]) -> Cases:
        def tool(key: str) -> tuple[str, Any]:
            (call,) = model(key).bind_tools([FUNCTION]).invoke("What is the weather in Paris?").tool_calls
            return call["name"], call["args"]

        def stream(key: str) -> str:
            return "".join(chunk.text for chunk in model(key).stream("hello"))

        return lambda key: model(key).invoke("hello").text, stream, tool

    yield "langchain-openai", cases(lambda key: ChatOpenAI(model=OPENAI, base_url=f"{base}/v1", api_key=key))
    yield (
        "langchain-anthropic",
        cases(lambda key: ChatAnthropic(model=ANTHROPIC, base_url=base, api_key=key, max_tokens=100)),
    )
    yield (
        "langchain-google-genai",
        cases(lambda key: ChatGoogleGenerativeAI(model=GEMINI, base_url=base, google_api_key=key)),
    )


def litellm(base: str) -> Iterator[tuple[str, Cases]]:
    import litellm as module

    module.suppress_debug_info = True
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]

    def cases(model: str, address: str) -> Cases:
        def ask(key: str, **more: Any) -> Any:
            return module.completion(model=model, api_base=address, api_key=key, messages=messages, **more)

        def stream(key: str) -> str:
            return "".join(chunk.choices[0].delta.content or "" for chunk in ask(key, stream=True))

        def tool(key: str) -> tuple[str, Any]:
            function = ask(key, tools=[FUNCTION]).choices[0].message.tool_calls[0].function
            return function.name, json.loads(function.arguments)

        return lambda key: ask(key).choices[0].message.content, stream, tool

    yield "litellm openai", cases(f"openai/{OPENAI}", f"{base}/v1")
    yield "litellm anthropic", cases(f"anthropic/{ANTHROPIC}", base)
    yield "litellm gemini", cases(f"gemini/{GEMINI}", f"{base}/v1beta")


FRAMEWORKS = {"pydantic-ai": pydantic_ai, "langchain": langchain, "litellm": litellm}


def tell(client: str, case: str, **found: object) -> None:
    print(json.dumps({"client": client, "case": case, **found}), flush=True)


def refused(client: str, case: str, call: Callable[[str], str], key: str) -> None:
    try:
        call(key)
    except Exception as error:  # noqa: BLE001 - which class it is, is what is asked
        tell(client, case, kind=type(error).__name__, status=status_of(error), message=str(error))
    else:
        tell(client, case, kind=None, status=200, message="")


def status_of(error: BaseException) -> int | None:
    """The status that a framework's error tells, or the error of the SDK below it."""
    for each in (error, error.__cause__):
        for name in ("status_code", "code"):
            if isinstance(found := getattr(each, name, None), int):
                return found
    return None


def main() -> None:
    given = json.loads(sys.argv[1])
    for client, (call, stream, tool) in FRAMEWORKS[given["framework"]](given["base"]):
        keys = given["keys"][client]
        tell(client, "call", text=call(keys["good"]))
        tell(client, "stream", text=stream(keys["good"]))
        name, arguments = tool(keys["good"])
        tell(client, "tool", name=name, arguments=arguments)
        for case in ("wrong", "poor"):
            refused(client, case, call, keys[case])


if __name__ == "__main__":
    main()
