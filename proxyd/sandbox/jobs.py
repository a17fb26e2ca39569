"""Work that is answered later: files, batches of all three providers, responses in the background.

Everything is done at once, and billed at once; who asks for the first time is told that it has ended. A line of a batch
stands on the invoice by itself, at the prices of batches. Shapes: see the modules of each provider.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.values import Answer, Bill, Document, Operation, Telling

MAX_FILES = 1_000

# Does one request of a batch: its answer and what it costs. Raises Refusal.
Work = Callable[[Document, Attempt], tuple[Document, Bill]]


@dataclass(slots=True)
class Done:
    """A request of a batch that was worked off."""

    key: Any  # as the client called it
    answer: Document | None
    refusal: Refusal | None
    attempt_id: str


@dataclass(slots=True)
class Jobs:
    """What was stored and done. `line` makes an attempt on the invoice for a line of a batch that `attempt` sent."""

    line: Callable[[Attempt, str], Attempt]
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Document] = field(default_factory=dict)  # by name, in the words of the provider
    answers: dict[str, tuple[Operation, Telling]] = field(default_factory=dict)  # that were made in the background

    def store(self, name: str, content: bytes) -> None:
        """Keep a file; the oldest one goes when there are very many."""
        if len(self.files) >= MAX_FILES:
            del self.files[next(iter(self.files))]
        self.files[name] = content

    def stored(self, name: object) -> bytes:
        """The content of a file."""
        if not isinstance(name, str) or name not in self.files:
            raise Refusal(404, f"No such file: {str(name)[:100]}")
        return self.files[name]

    def batch(self, name: str) -> Document:
        """A batch by its name."""
        if name not in self.batches:
            raise Refusal(404, f"No such batch: {name[:100]}")
        return self.batches[name]

    def work_off(self, attempt: Attempt, path: str, asked: list[tuple[Any, Document]], work: Work) -> list[Done]:
        """Do all requests of a batch, each a key and a body."""
        done = []
        for key, body in asked:
            line = self.line(attempt, path)
            try:
                answer, bill = work(body, line)
            except Refusal as refusal:
                line.status = refusal.status
                done.append(Done(key, None, refusal, line.id))
            else:
                line.status = 200
                line.charge_batch(bill)
                done.append(Done(key, answer, None, line.id))
            line.finished = True
        return done


def answered(jobs: Jobs, name: str, query: str) -> Answer:
    """An answer that was made in the background, whole or as the stream of its events."""
    if name not in jobs.answers:
        raise Refusal(404, f"Nothing is called '{name[:100]}'.")
    operation, telling = jobs.answers[name]
    if "stream=true" not in query:
        return Answer(200, orjson.dumps(operation.whole(telling)))
    return Answer(
        200, events=operation.events(telling), pieces=len(telling.speech.pieces), content_type=operation.stream_type
    )


def lines_of(content: bytes) -> list[Document]:
    """The objects of a file that has one in each line."""
    try:
        lines = [orjson.loads(line) for line in content.splitlines() if line.strip()]
    except orjson.JSONDecodeError:
        raise Refusal(400, "The input file is not valid JSON Lines.") from None
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise Refusal(400, "The input file must have a JSON object in each line.")
    return lines


def as_lines(documents: list[Document]) -> bytes:
    """Objects as a file that has one in each line."""
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)
