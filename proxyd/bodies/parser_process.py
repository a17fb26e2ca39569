"""The process in which large bodies are parsed: `python -m proxyd.bodies.parser_process`.

It reads questions from standard input and writes answers to standard output, one at a time, until its input ends. A
question is two lengths (8 bytes each, big-endian), what is to be known (pickled) and the body; an answer is a length
and what `answer` gives, pickled. Both ends are ours: a body is data, and is never unpickled.
"""

import gc
import os
import pickle
import resource
import struct
import sys
from typing import Any, Literal

from proxyd.providers import DIALECTS, BadBody, model_field
from proxyd.providers.body import Checking, read_at_leisure, read_event, read_object, spans
from proxyd.providers.large_body import for_rewriting
from proxyd.providers.later_answers import Reading
from proxyd.translation import Translation, exact
from proxyd.wire.json_size import parse_at_leisure
from shared.catalog import Endpoint

LENGTHS = struct.Struct(">QQ")
LENGTH = struct.Struct(">Q")
NICENESS = 5  # small requests come first
MEMORY_BYTES = 1024 * 1024 * 1024  # a last resort: no body that is accepted takes a third of it

Spans = dict[str, tuple[int, int]]
Question = tuple[Endpoint, str | None, str]  # the endpoint, the model in the path, the query
Translating = tuple[Translation, str]  # what is sent in its place, for the provider's own name of the model
# Or whether a message is as it must be, the one model that the body names, where its members stand.
# Or what an answer tells of work that is billed later.
Of = Question | Translating | Checking | Reading | Literal["model", "members"]


def answer(question: Of, body: bytes) -> Any:
    """What a body asks for, without the body, or what else is to be known of it; or what is wrong with it."""
    try:
        if question == "model":
            return model_field.in_json(body)
        if question == "members":
            return spans(body)
        if isinstance(question, Reading):
            return question.read(*question.arguments, body)
        if isinstance(question, Checking):
            read_event(body, question)
            return None
        if len(question) == 2:
            translation, model = question
            translated = translation.request(exact(read_object(body), body), model)
            return for_rewriting(translated), translated.raw
        endpoint, path_model, query = question
        parsed = DIALECTS[endpoint.dialect].read(endpoint, body, path_model, query)
        return for_rewriting(parsed)
    except BadBody as error:
        return error
    except MemoryError:
        return BadBody("The body takes more memory to be read than it may.")


def main() -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    gc.disable()  # JSON has no cycles, and looking for some takes as long as the parsing
    read_at_leisure()
    parse_at_leisure()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(LENGTHS.size)) == LENGTHS.size:
        question_size, body_size = LENGTHS.unpack(head)
        question: Any = pickle.loads(source.read(question_size))  # noqa: S301 - the worker's
        told = pickle.dumps(answer(question, source.read(body_size)))
        sink.write(LENGTH.pack(len(told)) + told)
        sink.flush()


if __name__ == "__main__":
    main()
