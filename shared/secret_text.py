"""Recognises secrets in what people type or paste: ours, and those of providers and of other services they use.

For free text only, which should hold none: a word that merely looks like one is refused or masked as well.
"""

import re
import unicodedata

# Our own begin with their tag; any digit after the four that are shown is too many. Of others it is the tag
# that their makers gave them so that scanners find them, and enough characters that no word has them by chance.
_SECRET = re.compile(
    r"(sk-(?:proxy|mgmt)-[0-9a-f]{4})[0-9a-f]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:"
    r"sk-(?=[A-Za-z_-]{0,40}[0-9])[A-Za-z0-9_-]{20,}"  # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek
    r"|AIza[0-9A-Za-z_-]{30,}"  # Google
    r"|AQ\.[0-9A-Za-z_-]{30,}"  # Google, bound to a service account
    r"|gsk_[0-9A-Za-z]{20,}"  # Groq
    r"|xai-[0-9A-Za-z]{20,}"
    r"|whsec_[0-9A-Za-z+/=_-]{20,}"  # of webhooks: ours, and those of others who sign as the same standard says
    r"|hf_[0-9A-Za-z]{20,}"
    r"|pplx-[0-9A-Za-z]{20,}"
    r"|(?-i:(?:AKIA|ASIA)[0-9A-Z]{16})\b"  # AWS
    r"|gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{30,}"
    r"|xox[abposr]-[0-9A-Za-z-]{20,}"  # Slack
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # a signed token (RFC 7519)
    r")",
    re.IGNORECASE,
)
MASK = "[secret]"


def holds_secret(text: str) -> bool:
    """Whether something in the text looks like a secret, also in full-width letters or with some that take no room."""
    plain = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return _SECRET.search(text) is not None or _SECRET.search(plain) is not None


def shown(text: str, longest: int = 60) -> str:
    """A text as an error message may repeat it: cut, and without what must not be repeated."""
    return "what looks like a secret" if holds_secret(text) else repr(text[:longest])


def masked(text: str) -> str:
    """The text without what looks like a secret; of one of ours the part that is shown everywhere stays."""
    return _SECRET.sub(lambda match: f"{match[1]}..." if match[1] else MASK, text)
