"""What is told to callers whose address or method leads nowhere: which one would.

Nothing is mended for them in silence: the path that is judged is the one that was sent.
"""

import re

from shared.catalog import METHODS, PROVIDERS, find_endpoint

NOTHING = "There is no endpoint at this address"
PREFLIGHT = (
    "Preflights of browsers (CORS) are not answered: whoever sees a web page would see the proxy key in it. Call the "
    "router from a server of yours."
)
NO_WEBSOCKET = (
    "No WebSocket is spoken at this address. They are at /v1/responses, /v1/realtime?model=... and, for Gemini Live, "
    "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent."
)
ONLY_WEBSOCKET = "Only a WebSocket is spoken at this address: send its handshake, version 13."
NO_MODEL = (
    "Realtime sessions go through the router with `?model=` in their address. Those of `intent=transcription` and of "
    "calls (`call_id`) are billed by time, or in another connection, which it cannot meter."
)
AZURE = "/openai/deployments/"
# Two versions in a row: one of the base URL, and one that the SDK adds.
TWO_VERSIONS = re.compile(r"(/[a-z][a-z0-9-]*)?(/v\d[a-z0-9]*)(/v\d[a-z0-9]*)(/.*|)")
# What an OpenAI client asks for whose base URL is Gemini's; its compatible endpoints are elsewhere.
COMPATIBLE = re.compile(r"((?:/gemini)?)(/v\d[a-z0-9]*)?(/chat/completions|/embeddings)")
_MOST_BEFORE = 3  # segments that a base URL may have too many
_GENERAL = (
    "Use /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, /v1beta/models/..., another /v1/... of an "
    "official SDK, or a provider's own path below /openai, /anthropic or /gemini."
)


def takes(path: str, methods: tuple[str, ...]) -> str:
    """Which methods a path takes."""
    return f"{path} takes {' or '.join(methods)}."


def of(path: str) -> str:
    """What is wrong with a path that nothing is at, as far as it can be guessed."""
    if path.startswith(AZURE):
        return f"{NOTHING}: Azure's paths are not spoken here. Use OpenAI's client with a base URL that ends with /v1."
    slashless = "/" + "/".join(piece for piece in path.split("/") if piece)
    if slashless not in (path, "/"):
        found = f", then it is {slashless}" if _is_somewhere(slashless) else ""
        return f"{NOTHING}: there is a slash too many in it{found}; check the base URL for one at its end."
    if "/v1/v1/messages" in path:
        return f"{NOTHING}: leave /v1 out of the Anthropic base URL."
    if (versions := TWO_VERSIONS.fullmatch(path)) is not None:
        slug, first, second, rest = (part or "" for part in versions.groups())
        if first == second == "/v1":
            return f"{NOTHING}: /v1 stands in it twice; check the base URL."
        return f"{NOTHING}: leave {first} out of the base URL, then it is {slug}{second}{rest}."
    if path.startswith("/gemini/") and (asked := COMPATIBLE.fullmatch(path)) is not None:
        return (
            f"{NOTHING}: Gemini speaks OpenAI's dialect at /gemini/v1beta/openai{asked[3]}, and so does /v1{asked[3]}."
        )
    if path.startswith("/v1beta/") and (asked := COMPATIBLE.fullmatch(path)) is not None:
        return f"{NOTHING}: Gemini speaks OpenAI's dialect at /v1beta/openai{asked[3]}, and so does /v1{asked[3]}."
    if path.startswith("/google/"):
        return f"{NOTHING}: Gemini is below /gemini, then it is /gemini/{path.removeprefix('/google/')}."
    if path.startswith("/models/") and ":" in path:
        return f"{NOTHING}: the base URL must end with /v1beta, then it is /v1beta{path}."
    if _is_listed(f"/v1{path}"):
        return f"{NOTHING}: the base URL must end with /v1, then it is /v1{path}."
    if path != path.lower() and _is_somewhere(path.lower()):
        return f"{NOTHING}: paths are in lower case, then it is {path.lower()}."
    if (without := _without_its_beginning(path)) is not None:
        return f"{NOTHING}: leave {path.removesuffix(without)} out of the base URL, then it is {without}."
    return f"{NOTHING}. {_GENERAL}"


def _without_its_beginning(path: str) -> str | None:
    """What is left of a path without the first of its segments, if that leads somewhere."""
    segments = path.split("/")[1:]
    rests = ("/" + "/".join(segments[count:]) for count in range(1, min(_MOST_BEFORE + 1, len(segments))))
    return next((rest for rest in rests if _is_listed(rest) and _is_somewhere(rest)), None)


def _is_somewhere(path: str) -> bool:
    """Whether a path would lead to a provider."""
    return path.startswith(("/v1/", "/v1beta/", *(f"/{slug}/" for slug in PROVIDERS)))


def _is_listed(path: str) -> bool:
    """Whether a provider's table has a row for just this path."""
    found = (find_endpoint(provider, method, path) for provider in PROVIDERS.values() for method in METHODS)
    return any(entry is not None and not entry[0].path.endswith("/...") for entry in found)
