"""What stands in a request besides text: media that are billed by other measures than their bytes.

Base64 text of media is not read as text by a model, so its length is taken off the text; in its place come ceilings.
A part whose size nobody can see from here makes the input as large as the context window.
"""

from urllib.parse import unquote

from msgspec import Struct

# An audio token is 31 ms (Gemini) to 100 ms (OpenAI) of sound. At 4 kbit/s, below every codec in use, 31 ms are 16
# bytes, and base64 is longer still.
AUDIO_BYTES_PER_TOKEN = 16
AUDIO_MINIMUM_TOKENS = 64

OVERHEAD_TOKENS = 256  # roles, separators and the few lines that some models are always given
TOOLS_OVERHEAD_TOKENS = 4_096  # the system prompts that tools, schemas and server-side features add

MAX_TOOL_CALLS = 100  # of a server-side tool in one request, where neither client nor provider sets a limit


class InputEstimate(Struct):
    """Running totals over the parts of one request."""

    images: int = 0
    audio_tokens: int = 0
    media_bytes: int = 0  # of base64, which is no text
    sound: bool = False  # that stands elsewhere
    film: bool = False
    unseen: bool = False  # input that stands elsewhere; the provider's own counter can see it
    grows: bool = False  # input that is still to come, such as the results of tools at the provider
    unpriced: str | None = None  # the first feature whose cost nobody can bound
    unbounded: str | None = None  # the first whose tokens nobody can bound
    other_models: bool = False  # a feature in use lets models take part that are not the request's own

    def feature(self, name: str, *, hides_tokens: bool = True) -> None:
        """A feature in use whose cost nobody can bound, and mostly its tokens neither.

        Those are bounded where it is billed by something else than tokens, or by dearer tokens. They are not where the
        answer comes later, other models take part, or what is read cannot be seen from here.
        """
        self.unpriced = self.unpriced or name
        if hides_tokens:
            self.unbounded = self.unbounded or name

    def unknown_tool(self, kind: object, *, hides_tokens: bool = True) -> None:
        """A tool whose cost nobody can bound. Unless its tokens can be, it may ask a model of its own."""
        self.feature(f"the tool {str(kind)[:80]}", hides_tokens=hides_tokens)
        self.other_models = self.other_models or hides_tokens

    def template(self, name: str) -> None:
        """A request that is stored at the provider: it may bring text and any tools along."""
        self.grows = self.other_models = True
        self.feature(name)

    def image(self, source: object) -> None:
        """An image, given by address, identifier or data URL. A data URL of something else may be a document."""
        self.images += 1
        if isinstance(source, str) and source.startswith("data:"):
            self.media_bytes += len(source)
            if not source.startswith("data:image/"):
                self.unseen = True

    def image_data(self, payload: object) -> None:
        """An image as bare base64."""
        self.images += 1
        self.media_bytes += len(payload) if isinstance(payload, str) else 0

    def audio(self, payload: object) -> None:
        """Sound as base64; anything else refers to sound that we cannot see, as an address that some servers take."""
        if not isinstance(payload, str) or ":" in payload[:16]:
            self.medium("audio/")
            return
        self.media_bytes += len(payload)
        self.audio_tokens += max(AUDIO_MINIMUM_TOKENS, -(-len(payload) // AUDIO_BYTES_PER_TOKEN))

    def file(self, payload: object = None) -> None:
        """A document or film: a page may hold anything, so it counts as a full context window."""
        self.unseen = True
        self.media_bytes += len(payload) if isinstance(payload, str) else 0

    def medium(self, mime: object) -> None:
        """Something that stands elsewhere, of this type; what has none may be anything."""
        kind = mime.partition("/")[0].lower() if isinstance(mime, str) and mime else None
        self.unseen = True
        self.sound = self.sound or kind in ("audio", None)
        self.film = self.film or kind in ("video", None)

    @property
    def classes(self) -> tuple[str, ...]:
        """What there is of sound and films, as usage keys."""
        heard = ("input_audio_tokens",) if self.audio_tokens or self.sound else ()
        return (*heard, "input_video_tokens") if self.film else heard

    def text_bytes(self, body: bytes) -> int:
        """What is left of a body as text."""
        return max(0, len(body) - self.media_bytes)


_SHAPING = frozenset({"fields", "callback", "httpheaders", "req", "ct", "uploadtype", "upload_type", "upload_protocol"})


def shaping_parameter(query: str) -> str | None:
    """A parameter of the query that makes the provider answer in a shape in which usage cannot be read; else None.

    Google's servers know them on every path (cloud.google.com/apis/docs/system-parameters), with or without a dollar:
    `fields` cuts the usage out, `alt` chooses another format than JSON, `callback` wraps it.
    """
    for piece in query.split("&") if query else ():
        written, _, value = piece.partition("=")
        name = unquote(written).lower().lstrip("$.")
        if name in _SHAPING or (name == "alt" and unquote(value).lower().partition(";")[0] not in ("json", "sse")):
            return f"the parameter {name}"
    return None
