"""How a reason that somebody else gave ends a sentence of ours."""


def ended(reason: object) -> str:
    """With a full stop, unless it ends by itself: some are questions."""
    text = str(reason)
    return text if text.endswith((".", "?")) else f"{text}."
