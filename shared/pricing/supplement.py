"""Prices that genai-prices does not have, each with the page of the provider that says so.

What the table says wins: a rate here fills a gap only, and is dropped when a new version of the table fills it. The
pages were read in November 2026.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

from msgspec.structs import replace

from shared.pricing.table import Model, Rate, Rates, find_model, read_rates

# https://developers.openai.com/api/docs/pricing, section "Tools": web search is 10 dollars a thousand calls on all
# models; its preview is that on reasoning models, and 25 on others; a file search is 2.50.
_OPENAI_TOOLS = read_rates({"web_searches_kcount": "10", "storage_searches_kcount": "2.5"})
_PREVIEW_REASONING, _PREVIEW_OTHERS = (read_rates({"web_search_previews_kcount": dollars}) for dollars in ("10", "25"))
_REASONING = re.compile(r"(?:o\d|gpt-5(?!.*chat)|gpt-[6-9]|codex|computer-use)")

# https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool: 10 dollars a thousand, on all models.
_ANTHROPIC_TOOLS = read_rates({"web_searches_kcount": "10"})

# https://openai.com/api/pricing, "Fine-tuning our models". The beginning of a name says which model was tuned.
_TUNED: tuple[tuple[str, Rates], ...] = tuple(
    (f"ft:{base}", read_rates({"input_mtok": given, "cache_read_mtok": cached, "output_mtok": output}))
    for base, given, cached, output in (
        ("gpt-4.1-mini", "0.8", "0.2", "3.2"),
        ("gpt-4.1-nano", "0.2", "0.05", "0.8"),
        ("gpt-4.1", "3", "0.75", "12"),
        ("o4-mini", "4", "1", "16"),
        # These two are of litellm's table of prices, which names https://developers.openai.com/api/docs/pricing. They
        # read from no cache.
        ("davinci-002", "12", "12", "12"),
        ("babbage-002", "1.6", "1.6", "1.6"),
    )
)

# https://developers.openai.com/api/docs/models/gpt-image-2.6-sunburst, and the page of flare beside it.
_IMAGE_NAMES = ("gpt-image-2.6-sunburst", "gpt-image-2.6-flare")
_IMAGES_26 = read_rates(
    {
        "input_mtok": "5",
        "cache_read_mtok": "1.25",
        "input_image_mtok": "8",
        "cache_image_read_mtok": "2",
        "output_mtok": "30",
    }
)

# https://openai.com/api/pricing, "Image models", as it stood before these models were retired on 12 May 2026: dollars a
# thousand pictures, by quality and size. Whoever still serves them has taken over the prices. A bare name is charged as
# its dearest picture.
_PICTURES: dict[str, Rates] = {
    name: read_rates({"image_generations_kcount": dollars})
    for name, dollars in {
        "dall-e-2": "20",
        "dall-e-2 256x256": "16",
        "dall-e-2 512x512": "18",
        "dall-e-2 1024x1024": "20",
        "dall-e-3": "120",
        "dall-e-3 standard 1024x1024": "40",
        "dall-e-3 standard 1024x1792": "80",
        "dall-e-3 standard 1792x1024": "80",
        "dall-e-3 hd 1024x1024": "80",
        "dall-e-3 hd 1024x1792": "120",
        "dall-e-3 hd 1792x1024": "120",
    }.items()
}

# OpenAI's model pages list dated snapshots under the one price of their model; where a snapshot has a price of its own,
# the table has it. Older ones are dated by month and day: tts-1-1106.
_SNAPSHOT = re.compile(r"(?P<model>[^:]+)-(?:20\d\d-\d\d-\d\d|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))")


def _seconds(*dollars: str) -> dict[str, str]:
    """Rates of films by resolution, from the smallest up."""
    return {f"video_seconds_{size}_kcount": each for size, each in zip(("720p", "1080p", "4k"), dollars, strict=False)}


# https://ai.google.dev/gemini-api/docs/pricing, "Imagen 4" (a picture) and "Veo 3.1" (a second, by resolution). Dollars
# for a thousand of them, as all fees here; neither bills tokens. The beginning of a name says which model it is.
_MEDIA: tuple[tuple[str, Rates], ...] = tuple(
    (beginning, read_rates({"input_mtok": "0", "output_mtok": "0", **fees}))
    for beginning, fees in (
        ("imagen-4.0-fast-generate", {"generated_images_kcount": "20"}),
        ("imagen-4.0-ultra-generate", {"generated_images_kcount": "60"}),
        ("imagen-4.0-generate", {"generated_images_kcount": "40"}),
        ("veo-3.1-fast-generate", _seconds("100", "120", "300")),
        ("veo-3.1-lite-generate", _seconds("50", "80")),
        ("veo-3.1-generate", _seconds("400", "400", "600")),
    )
)


# https://ai.google.dev/gemini-api/docs/pricing, "Priority" and "Flex", as litellm's price file (1.110) has them for
# these models: that much of what the standard tier costs on the day. The table has the two for speech alone, and they
# are in the same proportion there. What a picture costs in a tier is told nowhere.
_GEMINI_TIERS = {"priority": Decimal("1.8"), "flex": Decimal("0.5")}
_IN_TIERS = frozenset(
    {
        "gemini-2.5-flash",
        "gemini-2.5-flash-image",
        "gemini-2.5-flash-lite",
        "gemini-2.5-pro",
        "gemini-3-flash-preview",
        "gemini-3-pro-image-preview",
        "gemini-3.1-flash-lite",
        "gemini-3.1-pro-preview",
        "gemini-3.5-flash",
        "gemini-3.5-flash-lite",
        "gemini-3.6-flash",
        "gemini-3.7-flash",
        "gemini-3.8-flash",
        "gemini-4-argon",
    }
)
# The same file: what is read from a cache costs these as much at flex as at standard, and is rounded up for those.
_CACHED_AS_STANDARD = frozenset(
    {"gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3.1-pro-preview"}
)
_CACHED_AT_FLEX = {
    model: read_rates({"cache_read_mtok": dollars})
    for model, dollars in (("gemini-3.5-flash", "0.08"), ("gemini-3.5-flash-lite", "0.02"))
}

# https://platform.claude.com/docs/en/manage-claude/data-residency: inference in the US costs 1.1 times as much, in each
# class of tokens and beside every other price, with Claude Opus 4.6 and all models after it. These came before.
_US = {"inference_geo": "us"}
_US_TIMES = Decimal("1.1")
_WITHOUT_REGIONS = re.compile(r"claude-(?:v1|instant|[123](?!\d)|haiku-4|sonnet-4-[05]|opus-4-[015])")

# Windows that the table gives as a million, by the beginning of a model's id: the model pages of developers.openai.com
# and ai.google.dev. Claude Sonnet 4.5 keeps its 200,000, though it has a price beyond: since 30 April 2026 no header
# makes it larger (https://platform.claude.com/docs/en/release-notes/overview).
_ABOUT_A_MILLION = 1_000_000
_WINDOWS: dict[str, tuple[tuple[str, int], ...]] = {
    "openai": (("gpt-4.1", 1_047_576), ("ft:gpt-4.1", 1_047_576), ("gpt-5.5", 1_050_000)),
    "gemini": (("gemini", 1_048_576),),
}


def mended(slug: str, model: Model) -> Model:
    """A model of the table with the context window and the prices of tiers and regions that the table leaves out."""
    context, variants = model.context_tokens, model.variants
    if context == _ABOUT_A_MILLION:
        context = next((size for name, size in _WINDOWS.get(slug, ()) if model.id.startswith(name)), context)
    if slug == "gemini":
        variants = (*variants, *_tiers(model))
    is_told = any(_US.items() <= when.items() for when, *_ in variants)
    if slug == "anthropic" and not is_told and not _WITHOUT_REGIONS.match(model.id):
        variants = (*_in_the_us(model), *variants)
    return replace(model, context_tokens=context, variants=variants)


Variant = tuple[Mapping[str, str], date | None, Rates]


def _tiers(model: Model) -> Iterator[Variant]:
    """The newest first, as the first one that holds on a day counts."""
    for tier, times in _GEMINI_TIERS.items() if model.id in _IN_TIERS else ():
        for since, rates in reversed(model.prices):
            cached = _cached_at_flex(model.id, rates) if tier == "flex" else {}
            priced = {key: rate for key, rate in _times(times, rates).items() if "image" not in key}
            yield {"service_tier": tier}, since, {**priced, **cached}


def _cached_at_flex(model_id: str, rates: Rates) -> Rates:
    """Where that is not half of what it costs at standard."""
    if model_id in _CACHED_AS_STANDARD:
        return {key: rate for key, rate in rates.items() if key.startswith("cache_")}
    return _CACHED_AT_FLEX.get(model_id, {})


def _in_the_us(model: Model) -> Iterator[Variant]:
    """Those of other prices come before those of the standard ones, which hold for the classes that are left."""
    for when, since, rates in (*model.variants, *(({}, *price) for price in reversed(model.prices))):
        yield {**when, **_US}, since, _times(_US_TIMES, rates)


def _times(times: Decimal, rates: Rates) -> Rates:
    """The rates of tokens, multiplied."""
    return {
        key: Rate((rate.base * times).normalize(), tuple((at, (price * times).normalize()) for at, price in rate.steps))
        for key, rate in rates.items()
        if key.endswith("_mtok")
    }


def added_names(slug: str) -> tuple[str, ...]:
    """Names, or beginnings of names, of models that are priced here alone."""
    if slug == "gemini":
        return tuple(beginning for beginning, _ in _MEDIA)
    if slug != "openai":
        return ()
    return (*_IMAGE_NAMES, *(name for name in _PICTURES if " " not in name), *(beginning for beginning, _ in _TUNED))


def added_model(slug: str, name: str) -> Model | None:
    """A model that the table does not have, or not under this date.

    A tuned one has the context window of the model that it was made of.
    """
    if slug == "gemini":
        return next((_media(*media) for media in _MEDIA if name.lower().startswith(media[0])), None)
    if slug != "openai":
        return None
    if name.lower() in _IMAGE_NAMES:
        return Model(name.lower(), None, False, ((None, _IMAGES_26),), ())
    if (pictures := _PICTURES.get(name.lower())) is not None:
        return Model(name.lower(), None, False, ((None, pictures),), ())
    for beginning, rates in _TUNED:
        if name.lower().startswith((f"{beginning}-20", f"{beginning}:")):
            base = find_model("openai", beginning.removeprefix("ft:"))
            return Model(beginning, None if base is None else base.context_tokens, False, ((None, rates),), ())
    if (snapshot := _SNAPSHOT.fullmatch(name.lower())) is not None:
        return find_model("openai", snapshot["model"]) or added_model(slug, snapshot["model"])
    return None


def _media(beginning: str, rates: Rates) -> Model:
    return Model(beginning, None, False, ((None, rates),), ())


def completed(slug: str, name: str, rates: Mapping[str, Rate]) -> dict[str, Rate]:
    """A model's rates with what the table leaves out.

    `name` is the one that it is called by: in the table several models may share an entry whose tools differ in price.
    """
    if slug == "openai":
        preview = _PREVIEW_REASONING if _REASONING.match(name.lower().removeprefix("ft:")) else _PREVIEW_OTHERS
        return {**_OPENAI_TOOLS, **preview, **rates} if rates else {}
    if slug == "anthropic":
        return {**_ANTHROPIC_TOOLS, **rates} if rates else {}
    return dict(rates)
