"""The frozen values that pricing takes and gives. Counts are whole numbers; money is nano-dollars."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Usage(Struct):
    """What a provider says that it metered, or what we estimate in its place.

    `counts` is keyed by genai-prices' usage keys (`input_tokens`, `cache_read_tokens`, ...). Two keys are ours:
    `unknown_input_tokens` and `unknown_output_tokens` are parts of `input_tokens` and `output_tokens` whose class
    nobody here knows; they cost the dearest known rate of their direction.
    """

    counts: dict[str, int]
    model: str | None = None  # as served
    service_tier: str | None = None
    speed: str | None = None  # Anthropic's "fast" mode has prices of its own
    estimated: bool = False
    unknown: bool = False  # something in the provider's figures could not be read
    clamped: bool = False  # a figure was negative, or beyond all sense
    unmetered: bool = False  # what it costs is told later, or nobody here can tell it
    batch: bool = False  # of a batch, which has prices of its own
    parts: "tuple[Usage, ...]" = ()  # what other models used for it, or the same one beside `counts`
    region: str | None = None  # where it was served, if that has a price of its own: Anthropic's "us"

    def total(self) -> dict[str, int]:
        """The counts of all parts together."""
        if not self.parts:
            return self.counts
        found = dict(self.counts)
        for part in self.parts:
            for key, count in part.counts.items():
                found[key] = found.get(key, 0) + count
        return found


class Size(Struct, frozen=True):
    """What a request can use at most, in countable things, before any price is looked at."""

    text_bytes: int  # of the JSON body without its base64 media; a token has at least one byte
    image_parts: int = 0
    audio_tokens: int = 0  # ceiling, from the bytes of the audio
    context_inputs: bool = False  # input we cannot see: state, files or pages at the provider, results of its tools
    separate_windows: int = 0  # inputs beside the rest that we cannot see, each with a context window of its own
    overhead_tokens: int = 256  # what a provider adds around messages and tools
    output_limit: int | None = None  # the client's own
    output_default: int | None = None  # stands in the body where the client set none, and may be lowered
    choices: int = 1
    extra_output_tokens: int = 0  # billed as output beyond the limit (rejected parts of a prediction)
    tool_fees: Mapping[str, int] = field(default_factory=dict)  # genai-prices' usage key -> most calls, seconds, ...
    output_free: bool = False  # embeddings, and what is billed by something else than tokens
    output_fixed: bool = False  # `output_limit` is what the answer can have at most; no request could lower it
    cache_writes: bool = True  # whether input may be billed as written to a cache
    lasting_writes: bool = True  # whether some of it for an hour, which costs more
    service_tier: str | None = None
    speed: str | None = None
    region: str | None = None  # the one that it is to be served in; None: a setting at the provider may choose one
    unpriced: str | None = None  # a feature in use whose cost nobody can bound; then the request has no bound
    unbounded: str | None = None  # one whose tokens nobody can bound either; then that is set as well
    other_models: bool = False  # one by which models may take part that are not the request's own; likewise
    classes: tuple[str, ...] = ()  # usage keys that it may bring beside text, each of which may need a rate of its own
    counted_tokens: int | None = None  # of its input, as the provider's own counter told
    countable: bool = True  # whether that counter sees all of its input


class Price(Struct, frozen=True):
    """The prices that a cost was computed with.

    `json` is ready for the ledger: `id`, `version`, `rates` (usage key -> dollars per million tokens or per thousand
    calls, decimal strings) and, where they chose the rates, `service_tier`, `speed` and `inference_geo`.
    """

    id: str  # canonical model id in the price table
    version: str  # of the price table
    json: dict[str, Any]  # nobody changes it: every usage that it priced shows this one


class Cost(Struct, frozen=True):
    """What a usage costs. Without a price it is 0 and flagged `unpriced`."""

    nanos: int
    price: Price | None
    flags: tuple[str, ...] = ()
