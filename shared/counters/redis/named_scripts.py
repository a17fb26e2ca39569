"""The scripts of the counters that stand: one for each release that uses them, each known to this life of the server.

A life has a name and a small script of its own, the same text in all releases: whoever can run it has the server before
him that the counters were made on. It is also the only thing that enters the name of a release's script into the
counters. So a release that comes new, while others go on with theirs, loads its script under a fresh name and has it
entered. If the server was restarted before that, nothing is entered; a script whose name stands nowhere is nobody's.
"""

import uuid

from shared.counters.redis import script
from shared.counters.redis.link import Link
from shared.counters.values import CountersLost, CountersUnavailable

# Not of one release: it may never change. KEYS[1] is META; the arguments are a release's field and a name.
_LIFE = """-- life {life}
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
"""


class NamedScripts:
    """As one release sees them."""

    def __init__(self, link: Link, release: script.Release) -> None:
        self._link = link
        self._release = release
        self._field = release.field

    def refuse_newer(self) -> None:
        """Raise CountersUnavailable if what stands there is of a release that we know nothing of."""
        (found,) = self._link.fields(script.META, "format")
        self._is_older(found)

    def find(self) -> tuple[int, str, str | None]:
        """The generation that stands there, the digest of our script, and the number of the installation.

        Raises CountersLost or CountersUnavailable.
        """
        generation, life, name, found, whose = self._link.fields(
            script.META, "generation", "life", self._field, "format", "installation"
        )
        older = self._is_older(found)
        if generation is None or not generation.isdigit():
            raise CountersLost("there are none")
        if older or life is None:
            raise CountersLost("they are of an older release", int(generation))
        try:
            return int(generation), self._release.digest_of(name or self._enter(life)), whose
        except CountersLost as error:
            raise CountersLost(str(error), int(generation)) from error

    def prepare(self) -> tuple[str, str]:
        """The names of this life and of our script in it, for counters that are about to be made."""
        life, name = self._link.fields(script.META, "life", self._field)
        # A server keeps every script that it was ever given until it is restarted, so it gets others only when it does
        # not know those that its counters name.
        if life is None or not self._link.knows(script.digest(_LIFE.format(life=life))):
            life, name = uuid.uuid4().hex, None
            self._link.load(_LIFE.format(life=life))
        if name is None or not self._link.knows(self._release.digest_of(name)):
            name = self._load()
        return life, name

    def _enter(self, life: str) -> str:
        name = self._load()
        found: bytes | None = self._link.run(script.digest(_LIFE.format(life=life)), script.META, [self._field, name])
        if found is None:
            raise CountersLost("there are none")
        return found.decode()

    def _load(self) -> str:
        name = uuid.uuid4().hex
        self._link.load(self._release.script_of(name))
        return name

    def _is_older(self, found: str | None) -> bool:
        if found is None:
            return False
        if not found.isdigit() or int(found) > self._release.format:
            raise CountersUnavailable("they are those of a newer release")
        return int(found) < self._release.format
