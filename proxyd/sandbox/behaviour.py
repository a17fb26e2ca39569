"""How an answer misbehaves on purpose: read from the header, the prompt or the model's name."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxyd.sandbox.refusal import Refusal

MARK = "sandbox:"
MODEL_MARK = "-sandbox-"
MAX_WORDS = 2_000_000

_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,6})?")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What this answer does besides answering."""

    delay_seconds: float = 0.0  # before the first byte
    event_delay_seconds: float = 0.0
    status: int = 200
    cut: str = ""  # "rst" or "fin" half-way, "early" before the first byte
    stall: bool = False
    hang: bool = False
    no_usage: bool = False
    overrun: bool = False
    words: int | None = None
    rate: float = 0.0  # events a second; 0: as fast as they can be taken
    error_event: bool = False
    gzip: bool = False
    think: bool = False
    call: bool = False


_PLAIN = Behaviour()


def of_model(model: str) -> tuple[str, str]:
    """Split `gpt-4o-mini-sandbox-slow` into the real model and its behaviour."""
    real, _, words = model.partition(MODEL_MARK)
    return real, words


def of_prompt(prompt: str) -> tuple[str, str]:
    """Split the leading `sandbox:...` words off a prompt: the rest of it, and the behaviours."""
    if not prompt.startswith(MARK):
        return prompt, ""
    words = []
    while prompt.startswith(MARK):
        word, _, prompt = prompt.partition(" ")
        words.append(word.removeprefix(MARK))
    return prompt, " ".join(words)


def read(text: str) -> Behaviour:
    """Read behaviours, separated by spaces. Unknown ones are refused, so that no test passes by a slip."""
    behaviour = _PLAIN
    for word in text.split():
        behaviour = _apply(behaviour, word.removeprefix(MARK))
    return behaviour


def _apply(behaviour: Behaviour, word: str) -> Behaviour:
    name, _, value = word.partition("=")
    if name.isascii() and name.isdigit() and 400 <= int(name) <= 599:
        return replace(behaviour, status=int(name))
    if name == "slow":
        seconds = _number(word, value or "1")
        return replace(behaviour, delay_seconds=seconds, event_delay_seconds=seconds / 10)
    if name == "break" and value in ("", "rst", "fin", "early"):
        return replace(behaviour, cut=value or "rst")
    if name == "words":
        return replace(behaviour, words=_count(word, value))
    if name == "events":
        count, _, rate = value.partition(",rate=")
        return replace(behaviour, words=_count(word, count), rate=_number(word, rate or "0"))
    flag = _FLAGS.get(word)
    if flag is None:
        raise Refusal(400, f"The sandbox knows no behaviour {word[:40]!r}.", code="unknown_behaviour")
    return flag(behaviour)


_FLAGS: dict[str, Callable[[Behaviour], Behaviour]] = {
    "stall": lambda how: replace(how, stall=True),
    "hang": lambda how: replace(how, hang=True),
    "nousage": lambda how: replace(how, no_usage=True),
    "overrun": lambda how: replace(how, overrun=True),
    "error-event": lambda how: replace(how, error_event=True),
    "gzip": lambda how: replace(how, gzip=True),
    "think": lambda how: replace(how, think=True),
    "call": lambda how: replace(how, call=True),
}


def _number(word: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise Refusal(400, f"The sandbox cannot read the number in {word[:40]!r}.", code="unknown_behaviour")
    return float(text)


def _count(word: str, text: str) -> int:
    count = _number(word, text)
    if count > MAX_WORDS:
        raise Refusal(400, f"The sandbox says no more than {MAX_WORDS} words.", code="unknown_behaviour")
    return int(count)
