"""Loads the client library without its asyncio half, which nobody here uses and which takes 2 MB of a process.

`redis` imports that half itself. While it does, an empty package stands in its place, with the same folder, because one
module in it is used by both halves; after that it is gone, so that whoever imports `redis.asyncio` still gets it.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

_HALF = "redis.asyncio"


def _load() -> None:
    spec = find_spec("redis")
    if spec is None or "redis" in sys.modules:
        return  # it is not there, which `redis` itself says best; or it is there, whole
    stand_in = ModuleType(_HALF)
    stand_in.__path__ = [f"{folder}/asyncio" for folder in spec.submodule_search_locations or ()]
    sys.modules[_HALF] = stand_in
    try:
        import redis  # noqa: PLC0415
    except ImportError:
        _forget("redis")  # one that wants something of that half: it is loaded whole, by whoever imports it next
        return
    _forget(_HALF)
    vars(redis).pop("asyncio", None)


def _forget(name: str) -> None:
    """Drop a package and all that is in it, to be loaded again."""
    for loaded in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[loaded]


_load()
