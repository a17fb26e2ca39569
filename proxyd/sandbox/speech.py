"""What the sandbox says, and how many tokens that is. Deterministic: the same request hears the same answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxyd.sandbox.behaviour import Behaviour

BYTES_PER_TOKEN = 4
PART_TOKENS = 85  # an image, audio or file part
OVERRUN_FACTOR = 3
THOUGHT = "They said something, so something is said back."
ARGUMENT = "sandbox"  # what each argument of a call says
_ECHO_CHARACTERS = 400
_CLOSING = "This is the sandbox provider: no model has read that."
_FILLER = ("one ", "two ", "six ", "ten ")  # four bytes each: a word is a token


def tokens(text: str) -> int:
    """Tokens of one message: a quarter of its bytes, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Speech:
    """One answer in pieces (words with the space after them), all choices alike."""

    pieces: Sequence[str]
    truncated: bool  # the output limit ended it
    choice_tokens: int
    choices: int = 1
    thought: str = ""  # told before the pieces
    call: tuple[str, str] | None = None  # told behind them: a tool's name and its arguments in JSON

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def output_tokens(self) -> int:
        return self.choice_tokens * self.choices


def speak(
    prompt: str,
    behaviour: Behaviour,
    *,
    limit_tokens: int | None,
    choices: int = 1,
    call: tuple[str, str] | None = None,
) -> Speech:
    """Compose the answer to the last user message within `limit_tokens`, or three times beyond on request.

    Where they have no room for a thought and a call, both are left out.
    """
    thought = THOUGHT if behaviour.think else ""
    beside = thought + (call[1] if call else "")
    if beside and limit_tokens is not None and tokens(beside) >= limit_tokens:
        thought, beside, call = "", "", None
    if behaviour.words is not None:
        whole: Sequence[str] = _count_to(behaviour.words)
    else:
        echo = prompt[:_ECHO_CHARACTERS]
        whole = _words(f"You said: {echo} - {_CLOSING}" if echo else _CLOSING)
    if behaviour.overrun:
        whole = _overrun(whole, limit_tokens)
        return Speech(whole, truncated=False, choice_tokens=tokens("".join(whole)), choices=choices)
    spoken, truncated = _within(whole, None if limit_tokens is None else limit_tokens - tokens(beside))
    if truncated and call and limit_tokens is not None:  # it is cut off before the call, with all that fits
        spoken, call = _within(whole, limit_tokens - tokens(thought))[0], None
    counted = tokens("".join((thought, *spoken, call[1] if call else "")))
    return Speech(spoken, truncated, counted, choices, thought, call)


def _words(text: str) -> list[str]:
    pieces = [f"{word} " for word in text.split(" ")]
    pieces[-1] = pieces[-1][:-1]
    return pieces


def _count_to(count: int) -> list[str]:
    rounds, rest = divmod(count, len(_FILLER))
    return [*(_FILLER * rounds), *_FILLER[:rest]]


def _overrun(whole: Sequence[str], limit_tokens: int | None) -> list[str]:
    wanted = (limit_tokens if limit_tokens is not None else tokens("".join(whole))) * OVERRUN_FACTOR
    return _count_to(wanted)


def _within(whole: Sequence[str], limit_tokens: int | None) -> tuple[Sequence[str], bool]:
    if limit_tokens is None:
        return whole, False
    left = limit_tokens * BYTES_PER_TOKEN
    for index, piece in enumerate(whole):
        size = len(piece.encode())
        if size > left:
            rest = piece.encode()[:left].decode(errors="ignore")
            return [*whole[:index], *([rest] if rest else [])], True
        left -= size
    return whole, False


def progress(speech: Speech) -> Iterator[tuple[str, int, int]]:
    """Each piece of each choice in the order of a stream, with the output tokens of all choices so far."""
    said_bytes = len(speech.thought.encode())
    for piece in speech.pieces:
        before = -(-said_bytes // BYTES_PER_TOKEN)
        said_bytes += len(piece.encode())
        after = -(-said_bytes // BYTES_PER_TOKEN)
        for choice in range(speech.choices):
            yield piece, choice, after * (choice + 1) + before * (speech.choices - choice - 1)
