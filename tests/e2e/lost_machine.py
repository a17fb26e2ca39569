"""What a machine leaves that died with two requests in flight, one of which had cost 250 nano-dollars so far.

One more had ended, and cost nothing: its row has no price, and `ledger verify` shall find nothing amiss.

Only the data plane knows journals, so a process of its own writes them.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ROWS = [("req_1", "ok", 0), ("req_2", "crash", 250), ("req_3", "crash", 1_000)]  # id, outcome, nano-dollars
WRITE = """
import sys
from datetime import date
from pathlib import Path
from proxyd.accounting.journal import Journal
from proxyd.accounting.machine import machine_of
from proxyd.accounting.records import Attempt, Settlement

home = Path(sys.argv[1])

def attempt(number):
    return Attempt(f"req_{number}", "org_1", "key_1", "openai", "/v1/chat/completions", "gpt-4o", False, 1_000, 1_000,
                   date(2026, 11, 24).toordinal(), 100, 1_795_521_600.0, None)

machine_of(home)
journal = Journal(home / "journals")
journal.begin([(number, attempt(number)) for number in (1, 2, 3)])
journal.end(1, Settlement(200, "ok", (), {}, None, None, None, 0, 5, None))
journal.note_progress(2, 250)
"""


def lose_machine(directory: Path) -> None:
    """Make this its data directory."""
    directory.mkdir()
    subprocess.run([sys.executable, "-c", WRITE, str(directory)], cwd=ROOT, check=True, timeout=60)
