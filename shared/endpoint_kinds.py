"""The kinds of endpoints that providers have."""

from enum import StrEnum


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
