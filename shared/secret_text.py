"""Recognises secrets in what people type or paste: ours, and those of providers and of other services they use.

For free text only, which should hold none: a word that merely looks like one is refused or masked as well.
"""

import re
import unicodedata
from collections.abc import Iterator

from shared.keys import PROXY_TAG, looks_like_ours

# Our own begin with their tag; any digit after the four that are shown is too many. Of others it is the tag
# that their makers gave them so that scanners find them, and enough characters that no word has them by chance.
_SECRET = re.compile(
    r"(sk-(?:proxy|mgmt)-[0-9a-f]{4})(?:[0-9a-f]+|[\s_.:-]{1,2}[0-9a-f]{16,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?-i:AIza[0-9A-Za-z_-]{35}|sk-ant-[a-z]{2,5}[0-9]{2}-[0-9A-Za-z_-]{20,})"  # behind whatever it is
    r"|(?<![A-Za-z0-9])(?:"  # an underscore may stand before it, as in prod_sk-...
    # OpenAI, Anthropic (sk-ant-), OpenRouter (sk-or-), DeepSeek. Words have neither digits nor capitals in the middle.
    r"sk-(?=[A-Za-z_-]{0,40}(?:[0-9]|(?-i:[a-z][A-Z])))[A-Za-z0-9_-]{20,}"
    r"|AIza[0-9A-Za-z_-]{30,}"  # Google
    r"|AQ\.[0-9A-Za-z_-]{30,}"  # Google, bound to a service account
    r"|ya29\.[0-9A-Za-z_-]{30,}"  # Google, for an hour
    r"|gsk_[0-9A-Za-z]{20,}"  # Groq
    r"|xai-[0-9A-Za-z]{20,}"
    r"|whsec_[0-9A-Za-z+/=_-]{20,}"  # of webhooks: ours, and those of others who sign as the same standard says
    r"|hf_[0-9A-Za-z]{20,}"
    r"|pplx-[0-9A-Za-z]{20,}"
    # Fireworks, NVIDIA, Cerebras, Together, Replicate
    r"|(?:fw_|nvapi-|csk-|tgp_v1_|r8_)(?=[A-Za-z_-]{0,40}[0-9])[0-9A-Za-z_-]{20,}"
    r"|(?-i:(?:AKIA|ASIA)[0-9A-Z]{16})(?![0-9A-Za-z])"  # AWS
    r"|gh[pousr]_[0-9A-Za-z]{30,}|github_pat_[0-9A-Za-z_]{30,}"
    r"|xox[abposr]-[0-9A-Za-z-]{20,}"  # Slack
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"  # a signed token (RFC 7519)
    r")",
    re.IGNORECASE,
)
# Where one of ours may stand without its tag, or in pieces. Its checksum tells it from other digits.
_OWN_DIGITS = 64
_DIGITS = re.compile(r"(?<![0-9a-f])[0-9a-f](?:[\s_.:-]{0,3}[0-9a-f]){63,}", re.IGNORECASE)
_MINUS_SIGNS = "\u2212\u2043\u02d7"  # that Unicode counts among other signs than dashes
MASK = "[secret]"

_Cut = tuple[int, int, str]  # from, to, and what is shown in its place


def holds_secret(text: str) -> bool:
    """Whether something in the text looks like a secret.

    Also in full-width letters, with other dashes, or with some letters between that take no room.
    """
    return next(_cuts(text), None) is not None


def shown(text: str, longest: int = 60) -> str:
    """A text as an error message may repeat it: cut, and without what must not be repeated."""
    return "what looks like a secret" if holds_secret(text) else repr(text[:longest])


def masked(text: str) -> str:
    """The text without what looks like a secret; of one of ours the part that is shown everywhere stays."""
    pieces, done = [], 0
    for start, end, instead in sorted(_cuts(text)):
        if start >= done:
            pieces += [text[done:start], instead]
        done = max(done, end)
    return "".join([*pieces, text[done:]]) if pieces else text


def _cuts(text: str) -> Iterator[_Cut]:
    """Where secrets stand; they may overlap."""
    yield from _tagged(text)
    if text.isascii():
        yield from _untagged(text)
        return
    plain, places = _plain(text)
    for find in (_tagged, _untagged):
        for start, end, instead in find(plain):
            yield places[start], places[end - 1] + 1, instead


def _tagged(text: str) -> Iterator[_Cut]:
    for match in _SECRET.finditer(text):
        yield match.start(), match.end(), f"{match[1]}..." if match[1] else MASK


def _untagged(text: str) -> Iterator[_Cut]:
    if len(text) < _OWN_DIGITS:
        return
    for run in _DIGITS.finditer(text):
        places = [place for place in range(run.start(), run.end()) if text[place].isalnum()]
        digits = PROXY_TAG.encode() + "".join([text[place] for place in places]).lower().encode()
        for first in range(len(places) - _OWN_DIGITS + 1):
            at = len(PROXY_TAG) + first
            if looks_like_ours(PROXY_TAG.encode() + digits[at : at + _OWN_DIGITS], PROXY_TAG):
                yield places[first], places[first + _OWN_DIGITS - 1] + 1, MASK


def _plain(text: str) -> tuple[str, list[int]]:
    """The text in ASCII as far as it has a look of it, and where in it each character comes from."""
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        folded = _folded(character)
        letters.append(folded)
        places += [place] * len(folded)
    return "".join(letters), places


def _folded(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Pd" or character in _MINUS_SIGNS:
        return "-"
    return "" if kind == "Cf" else unicodedata.normalize("NFKC", character)
