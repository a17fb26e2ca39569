"""What all pages say of a request that was sent, in the same words: how it ended, which model, which provider."""

from dataclasses import dataclass

from webapp.views.custom_providers import label_of
from webapp.views.request_words import flag_words, outcome_words
from webapp.views.requests import RequestView

# By outcome: how it looks.
_LOOKS = {
    "ok": ("green", "check"),
    "provider_error": ("red", "alert"),
    "client_gone": ("grey", "close"),
    "upstream_truncated": ("amber", "alert"),
    "unknown": ("amber", "alert"),
    "crash": ("red", "stop"),
    "unsent": ("grey", "close"),
}
_CORRECTION = ("grey", "pencil")


@dataclass(frozen=True, slots=True)
class Mark:
    """A badge: never by colour alone."""

    tone: str
    icon: str
    label: str
    hint: str


def mark(view: RequestView) -> Mark:
    """What became of it; of its cost what is out of the ordinary."""
    tone, icon = _CORRECTION if view.adjusts else _LOOKS.get(view.outcome, ("grey", "info"))
    hint = "; ".join(flag_words(view)) or "Nothing out of the ordinary"
    return Mark(tone, icon, outcome_words(view), f"{hint[:1].upper()}{hint[1:]}.")


def model_words(*names: str | None) -> str:
    """The first of these names that is known. Usage counts by the model that answered, so that one comes first."""
    return next((name for name in names if name), "Model not known")


def asked_model(view: RequestView) -> str | None:
    """The model that was asked for, where another one answered."""
    return view.model if view.served_model and view.model != view.served_model else None


def provider_label(slug: str) -> str:
    return label_of(slug)
