"""`python -m tests.shared.ended_probe SETTING FILE TIMES`: a question that is ended from outside as often as told."""

import os
import signal
import sys
from pathlib import Path

from shared.probe import Finding, answer


def _finding_of(url: str) -> Finding:
    _, runs, times = sys.argv[1:]
    with Path(runs).open("a") as file:
        file.write(url + "\n")
    if len(Path(runs).read_text().splitlines()) <= int(times):
        os.kill(os.getpid(), signal.SIGKILL)
    return Finding()


if __name__ == "__main__":
    sys.exit(answer(_finding_of))
