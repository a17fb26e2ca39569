"""The name of a data directory, by which its journals are told from those of other machines."""

import os
import secrets
from pathlib import Path

_FILE = "machine_id"


def machine_of(data_dir: Path) -> str:
    """Made once and kept. Raises OSError when it can be neither read nor made."""
    path = data_dir / _FILE
    draft = path.with_name(f"{_FILE}.{os.getpid()}.new")
    while not path.exists():
        draft.write_text(f"machine_{secrets.token_hex(8)}\n", encoding="ascii")
        try:
            os.link(draft, path)  # whoever is first wins; the others read what it made
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii").strip()


def machine_there(data_dir: Path) -> str | None:
    """The name that a data directory has already; None if it has none. Raises OSError."""
    path = data_dir / _FILE
    return (path.read_text(encoding="ascii", errors="replace").strip() or None) if path.exists() else None
