"""What a provider and an endpoint of it are, and the kinds of endpoints that there are."""

from enum import StrEnum

from msgspec import Struct

WEBSOCKET = "WEBSOCKET"  # stands for a method in the rows of what is reached by a WebSocket's handshake, a GET


class Kind(StrEnum):
    """What an endpoint does, which decides how its body is read and its answer metered."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    COMPACT = "compact"
    EMBEDDINGS = "embeddings"
    SPEECH = "speech"
    TRANSCRIPTIONS = "transcriptions"
    IMAGES = "images"
    MESSAGES = "messages"
    GENERATE = "generate"
    GENERATE_STREAM = "generate_stream"
    EMBED = "embed"
    PREDICT = "predict"
    PREDICT_FILM = "predict_film"
    INTERACT = "interact"
    REALTIME = "realtime"  # a WebSocket, as the next
    LIVE = "live"
    FREE = "free"  # costs nothing at the provider
    UNMETERED = "unmetered"  # costs something that we cannot tell


class Endpoint(Struct, frozen=True):
    """One method and path of a provider; see `shared.endpoints` for what may stand in the path."""

    method: str  # or WEBSOCKET
    path: str  # below the base URL
    kind: Kind
    flavor: str | None = None  # api_flavor of genai-prices; None when nothing is metered
    dialect: str = "openai"  # of its bodies and errors: "openai", "anthropic" or "gemini"
    prices_id: str = "openai"  # whose extraction tables of genai-prices have `flavor`
    form: bool = False  # its body may be a form


class Provider(Struct, frozen=True):
    """A provider, as routing, metering and the dashboard know it."""

    slug: str
    label: str
    base_url: str  # without version path
    prices_id: str
    dialect: str
    auth_header: bytes  # lower-case
    auth_prefix: bytes
    extra_headers: tuple[tuple[bytes, bytes], ...]  # added when the client sent none of that name
    compat_prefix: str | None  # where its OpenAI-compatible endpoints live
    model_prefixes: tuple[str, ...]  # beginnings of model names that can only be its own
    endpoints: tuple[Endpoint, ...]
