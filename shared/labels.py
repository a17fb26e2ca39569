"""A client's own label of a request, as the header `x-router-tag` has it: what usage is told apart by besides keys."""

from shared.secret_text import holds_secret

HEADER = "x-router-tag"
LABEL_LENGTH = 64  # characters


def read_label(raw: str) -> str:
    """A label of 1 to 64 printable characters, trimmed. Raises ValueError with the end of a sentence about it."""
    label = raw.strip()
    if not label:
        raise ValueError("must not be empty")
    if len(label) > LABEL_LENGTH:
        raise ValueError(f"must have at most {LABEL_LENGTH} characters, not {len(label)}")
    if not label.isprintable():
        raise ValueError("must have printable characters only")
    if holds_secret(label):
        raise ValueError("looks like a secret, or has one in it, and would be kept in clear")
    return label
