"""How often keys are refused and what they are told, gathered in a worker and left in files for the ledger writer.

A refusal costs a look into a dict. What is kept is one entry a key and reason, with the last refusal of it; four times
a second the entries become a file, which the ledger writer takes, adds to the database and deletes. While it is away
some files lie there and the entries go on counting, so that neither a flood nor an outage makes anything grow without
end. No money depends on any of this: what a worker had not handed over when it was killed is lost.
"""

import errno
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import orjson
from gevent.event import Event
from msgspec import Struct
from ulid import ULID

from shared.policy import Deny, KeySnapshot, Reason
from shared.secret_text import masked

log = logging.getLogger(__name__)

HAND_OVER_SECONDS = 0.25
STOP_SECONDS = 1.0
MOST_ENTRIES = 2_000  # of keys and reasons in one file; what comes beyond them before it is written is not counted
MOST_FILES = 8  # that the ledger writer has not taken yet
MODEL_CHARACTERS, SENTENCE_CHARACTERS = 255, 2_000
_AT_ONCE = 50  # entries that are put into words before others have a turn
SUFFIX, DRAFT = ".json", ".draft"


@dataclass(slots=True)
class RefusalCount:
    """So many refusals of a key for one reason, and the last of them. As JSON it is what a file holds a list of."""

    key_id: str
    reason: str
    org_id: str
    count: int
    last_at: float  # Unix seconds
    status: int
    sentence: str
    model: str | None
    client_ip: str | None
    request_id: str


class Refused(Struct):
    """One refusal. Its sentence is made when it is written down: most are followed by another one before that."""

    at: float  # Unix seconds
    status: int
    deny: Deny
    model: str | None  # that was asked for, as far as it is known
    client_ip: str | None
    request_id: str


class _Entry(Struct):
    org_id: str
    count: int
    last: Refused


_Entries = dict[tuple[str, Reason], _Entry]


class RefusalLog:
    """Of one worker; `directory` is shared by all of a data directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entries: _Entries = {}
        self._files: list[Path] = []  # those that may not have been taken yet
        self._uncounted = 0
        self._failing = False
        self._ending = Event()
        self._greenlet: Any = None

    def note(self, key: KeySnapshot, refused: Refused) -> None:
        """Count a refusal of a key that is known."""
        place = (key.id, refused.deny.reason)
        entry = self._entries.get(place)
        if entry is not None:
            entry.count += 1
            entry.last = refused
        elif len(self._entries) < MOST_ENTRIES:
            self._entries[place] = _Entry(key.org_id, 1, refused)
        else:
            self._uncounted += 1

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Hand over what is left, however many files wait."""
        self._ending.set()
        if self._greenlet is not None:
            self._greenlet.join(STOP_SECONDS)  # it may be about to write
        self._files.clear()
        self.hand_over()

    def hand_over(self) -> None:
        """Write what was counted into a file, unless enough of them wait."""
        self._files = [path for path in self._files if path.exists()]
        if not self._entries or len(self._files) >= MOST_FILES:
            return
        entries, self._entries = self._entries, {}
        if self._uncounted:
            log.warning("%d refusals of more than %d keys at once are not counted", self._uncounted, MOST_ENTRIES)
            self._uncounted = 0
        counts: list[RefusalCount] = []
        for place, entry in entries.items():
            counts.append(_count(place, entry))
            if len(counts) % _AT_ONCE == 0:
                gevent.sleep(0)
        try:
            self._files.append(_write(self._directory, counts))
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("refusals cannot be written down, and are tried again: %s", error.strerror)
            self._failing = True
            self._take_back(entries)

    def _take_back(self, entries: _Entries) -> None:
        for place, entry in entries.items():
            newer = self._entries.get(place)
            if newer is not None:
                newer.count += entry.count
            elif len(self._entries) < MOST_ENTRIES:
                self._entries[place] = entry
            else:
                self._uncounted += entry.count

    def _run(self) -> None:
        while not self._ending.wait(HAND_OVER_SECONDS):
            try:
                self.hand_over()
            except Exception:  # A process edge: without this chore no refusal would ever be told.
                log.exception("some refusals could not be put into words, and are not counted")


def _count(place: tuple[str, Reason], entry: _Entry) -> RefusalCount:
    key_id, reason = place
    last = entry.last
    model = None if last.model is None else _fit(last.model, MODEL_CHARACTERS)
    sentence = _fit(last.deny.sentence(), SENTENCE_CHARACTERS)
    return RefusalCount(
        key_id, reason.value, entry.org_id, entry.count, last.at, last.status, sentence, model,
        last.client_ip, last.request_id,
    )  # fmt: skip


def _fit(text: str, length: int) -> str:
    """As a database takes it: without secrets and NULs, in valid Unicode, and not too long."""
    cleaned = masked(text[: 2 * length]).replace("\0", "")
    return cleaned.encode("utf-8", "replace").decode()[:length]


def _write(directory: Path, counts: list[RefusalCount]) -> Path:
    """A new file with all of these, or none. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{ULID()}{SUFFIX}"
    draft = path.with_suffix(DRAFT)
    data = orjson.dumps(counts)
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
        draft.rename(path)  # whoever looks for files sees whole ones only
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return path
