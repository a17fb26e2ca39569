"""What looks like a secret, one of ours or one that a provider hands out, wherever in a text it stands.

Free text (a name, a pattern, a label) is kept in clear and shown to many, so it must not take one. A rule here may
refuse a text that is none: it asks for the beginning that a kind of secret is known by and for more letters behind it
than a word has. The shapes are those that the providers publish for scanners of leaked secrets.
"""

import re
import unicodedata

# Our own prefix, `sk-proxy-a1b2`, is no secret: it identifies a key for people.
_SHAPES: tuple[tuple[str, str], ...] = (
    ("a proxy key", r"sk-proxy-[0-9a-f]{8,}"),
    ("a management token", r"sk-mgmt-[0-9a-f]{8,}"),
    ("an API key of Anthropic", r"\bsk-ant-[\w-]{12,}"),
    ("an API key of OpenAI", r"\bsk-(?:proj|svcacct|admin|none)-[\w-]{12,}"),
    ("an API key", r"\bsk-[\w-]*[a-z0-9]{20,}"),
    ("a session key of OpenAI", r"\bsess-[a-z0-9]{32,}"),
    ("an API key of Google", r"\bAIza[\w-]{30,}"),
    ("an API key of Google", r"\bAQ\.[\w-]{30,}"),
    ("an access token of Google", r"\bya29\.[\w-]{20,}"),
    ("a client secret of Google", r"\bGOCSPX-[\w-]{20,}"),
    ("an API key of Groq", r"\bgsk_[a-z0-9]{30,}"),
    ("an API key of xAI", r"\bxai-[a-z0-9]{30,}"),
    ("an API key of Perplexity", r"\bpplx-[a-z0-9]{30,}"),
    ("a token of Hugging Face", r"\bhf_[a-z0-9]{30,}"),
    ("a token of Replicate", r"\br8_[a-z0-9]{30,}"),
    ("a token of GitHub", r"\b(?:gh[pousr]_[a-z0-9]{30,}|github_pat_\w{30,})"),
    ("a token of Slack", r"\bxox[a-z]-[\w-]{20,}"),
    ("an access key of AWS", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("a signed token", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
)
_ANY = re.compile("|".join(f"(?P<s{number}>{shape})" for number, (_, shape) in enumerate(_SHAPES)), re.IGNORECASE)


def secret_in(text: str) -> str | None:
    """What kind of secret stands in a text, in words; None when nothing in it looks like one.

    Spellings that look the same to people are the same here: full-width letters, and characters that take no room.
    """
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    found = _ANY.search(plain)
    if found is None or found.lastgroup is None:
        return None
    return _SHAPES[int(found.lastgroup[1:])][0]


def shown(text: str, longest: int = 60) -> str:
    """A text as an error message may repeat it: cut, and without what must not be repeated."""
    return "what looks like a secret" if secret_in(text) else repr(text[:longest])
