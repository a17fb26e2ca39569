"""What became of a request, in plain words: its outcome, and the flags of its cost."""

from webapp.views.requests import RequestView

# By outcome, see proxyd.accounting.records.OUTCOMES.
OUTCOMES = {
    "ok": "Answered",
    "provider_error": "Provider's error",
    "client_gone": "The app hung up",
    "upstream_truncated": "The answer broke off",
    "unknown": "Sent, but no answer came",
    "crash": "The router's process died meanwhile",
    "unsent": "Not sent after all",
}

# By flag, see docs/pricing.md.
FLAGS = {
    "estimated": "cost estimated: the provider told no usage",
    "overrun": "cost more than it could at most: the provider ignored a limit",
    "crash": "charged what was last known of it",
    "unpriced": "no price known, so it counts as free",
    "unmetered": "cost cannot be read, so it counts as free",
    "booked_later": "booked when its result was fetched",
    "served_model_unpriced": "priced as the model that was asked for",
    "unpriced_tool": "used a tool that has no price",
    "unknown_class": "some of its tokens have no rate of their own: charged at the dearest one",
    "clamped": "the provider's figures made no sense: cut to what is possible",
    "adjustment": "the difference to what had been charged as an estimate",
    "retried": "nothing was billed, and the request went on with another credential",
    "inconsistent": "the provider's figures contradict each other",
}


# Why a request went on with another credential, see proxyd.accounting.records.WHY.
TRIES = {
    "refused": "refused by the provider (401)",
    "rate_limited": "took no more requests at that moment (429)",
    "unavailable": "the provider was overloaded (503)",
    "unreachable": "the provider could not be reached",
    "timeout": "no connection came about in time",
    None: "got the answer",
}


def outcome_words(view: RequestView) -> str:
    """Such as `Answered` or `Provider's error (429)`."""
    words = "A correction of an estimate" if view.adjusts else OUTCOMES.get(view.outcome, view.outcome)
    status = view.provider_status or view.status
    return f"{words} ({status})" if status is not None and status >= 400 else words


def flag_words(view: RequestView) -> tuple[str, ...]:
    return tuple(FLAGS.get(flag, flag) for flag in view.flags)
