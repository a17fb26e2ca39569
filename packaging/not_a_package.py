"""The build backend (PEP 517) of a project that is not built: it says how the router is run instead.

Templates, static files and migrations stand beside the packages, where people find them, and not in them. A wheel would
hold code that starts and then finds no page; so there is none.
"""

import sys
from typing import Any, NoReturn

SENTENCE = (
    "Enterprise Router runs from its checkout and is not built or installed as a package: `make run` there starts it, "
    "and requirements.lock holds what it needs."
)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    sys.exit(SENTENCE)


build_wheel = build_sdist = build_editable = _refuse
get_requires_for_build_wheel = get_requires_for_build_sdist = get_requires_for_build_editable = _refuse
