"""Where usage stands in the events of WebSockets, of which genai-prices has no tables. Data only, in its own form.

OpenAI Realtime: `RealtimeResponseUsage` of the openai SDK 3; its reader lifts `cached_tokens_details` up one level.
Gemini Live: `UsageMetadata` of the google-genai SDK 3, which says `response` where other answers say `candidates`.
"""

from collections.abc import Mapping

# Path, usage key, whether it must be there.
Row = tuple[tuple[object, ...], str, bool]

_REALTIME: tuple[Row, ...] = (
    (("input_tokens",), "input_tokens", True),
    (("input_token_details", "cached_tokens"), "cache_read_tokens", False),
    (("input_token_details", "audio_tokens"), "input_audio_tokens", False),
    (("input_token_details", "image_tokens"), "input_image_tokens", False),
    (("cached_tokens_details", "audio_tokens"), "cache_audio_read_tokens", False),
    (("cached_tokens_details", "image_tokens"), "cache_image_read_tokens", False),
    (("output_token_details", "audio_tokens"), "output_audio_tokens", False),
    (("output_token_details", "reasoning_tokens"), "output_reasoning_tokens", False),
    (("output_tokens",), "output_tokens", True),
)
_LIVE: tuple[Row, ...] = (
    (("responseTokenCount",), "output_tokens", False),
    *(
        (("responseTokensDetails", {"field": "modality", "match": ["equals", told]}, "tokenCount"), key, False)
        for told, key in (
            ("text", "output_text_tokens"),
            ("audio", "output_audio_tokens"),
            ("image", "output_image_tokens"),
            ("document", "output_image_tokens"),
            ("video", "output_video_tokens"),
        )
    ),
)

# By provider and flavor: the flavor of the price table whose places apply as well, and those of ours.
OWN: Mapping[tuple[str, str], tuple[str | None, tuple[Row, ...]]] = {
    ("openai", "realtime"): (None, _REALTIME),
    ("google", "live"): ("default", _LIVE),
}
