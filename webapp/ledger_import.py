"""`flask --app wsgi ledger import DIR`: handed to the data plane, which knows journals and alone writes the ledger."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from shared.config import Settings
from webapp.launch_environment import service_environment
from webapp.supervisor import HOME


def import_journals(directory: Path, settings: Settings, environ: Mapping[str, str], *, dry_run: bool) -> int:
    """Run it with these settings, on our own output; its exit status."""
    command = [sys.executable, "-m", "proxyd.ledger_import", str(directory), *(["--dry-run"] if dry_run else [])]
    kept = service_environment(settings, environ, None) | {"DATABASE_URL": settings.database_url}
    kept.pop("DATABASE_URL_FILE", None)
    return subprocess.run(command, cwd=HOME, env=kept, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603 - our own command line
