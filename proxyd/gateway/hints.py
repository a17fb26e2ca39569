"""What is told to callers whose address or method leads nowhere: which one would.

Nothing is mended for them in silence: the path that is judged is the one that was sent.
"""

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
    if "/v1/v1/" in path:
        return f"{NOTHING}: /v1 stands in it twice; check the base URL."
    if path.startswith("/models/") and ":" in path:
        return f"{NOTHING}: the base URL must end with /v1beta, then it is /v1beta{path}."
    if _is_listed(f"/v1{path}"):
        return f"{NOTHING}: the base URL must end with /v1, then it is /v1{path}."
    return f"{NOTHING}. {_GENERAL}"


def _is_somewhere(path: str) -> bool:
    """Whether a path would lead to a provider."""
    return path.startswith(("/v1/", "/v1beta/", *(f"/{slug}/" for slug in PROVIDERS)))


def _is_listed(path: str) -> bool:
    """Whether a provider's table has a row for just this path."""
    found = (find_endpoint(provider, method, path) for provider in PROVIDERS.values() for method in METHODS)
    return any(entry is not None and not entry[0].path.endswith("/...") for entry in found)
