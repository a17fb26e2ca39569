"""What the script is asked for."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from shared.counters.redis.codec import Arguments, seed_arguments
from shared.counters.values import Seed


class Change(Struct):
    """One run of the script."""

    op: str
    generation: int
    arguments: Sequence[str | int] = ()
    own: str = ""  # whose row of a worker it is about
    seen: int = 0  # how many changes this data directory knows of


def version_arguments(*of_some: Mapping[str, int]) -> Arguments:
    arguments: Arguments = []
    for versions in of_some:
        arguments.append(len(versions))
        for version in versions.items():
            arguments += version
    return arguments


def seeding_arguments(seeds: Sequence[Seed]) -> Arguments:
    arguments: Arguments = [len(seeds)]
    for seed in seeds:
        arguments += (seed.key_id, *seed_arguments(seed))
    return arguments
