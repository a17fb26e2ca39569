"""`python -m proxyd.ledger_import DIR`: what `flask --app wsgi ledger import DIR` runs.

Exit status 0: all was imported. 1: some journals were set aside. 2: nothing was imported, and one sentence says why.
"""

import argparse
import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.copy_import import CopyImport
from proxyd.accounting.journal_copies import ImportRefused, open_copy
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.machine import machine_there
from shared import db
from shared.config import SettingError, Settings
from shared.database_probe import ledger_setting, reason_of

SET_ASIDE, REFUSED = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """With the settings of the environment, as the database's user that writes the ledger."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.ledger_import")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        settings = Settings.from_env()
        engine = db.create(settings.ledger_database_url)
        copy_import = CopyImport(AccountingDatabase(engine), Ledger(engine), machine_there(settings.data_dir))
        with open_copy(asked.directory.absolute(), settings.data_dir) as folder:
            report = copy_import.run(folder.journals, folder.machine, dry_run=asked.dry_run)
    except (SettingError, ImportRefused) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    except SQLAlchemyError as error:
        reason = reason_of(error, settings.ledger_database_url)
        sys.stderr.write(f"{ledger_setting(settings)}: the journals cannot be imported: {reason}.\n")
        return REFUSED
    except OSError as error:
        sys.stderr.write(f"The copy cannot be read: {error.filename or asked.directory}: {error.strerror}.\n")
        return REFUSED
    sys.stdout.writelines(f"{line}\n" for line in report.lines(dry_run=asked.dry_run))
    return SET_ASIDE if report.unusable or report.absent else 0


if __name__ == "__main__":
    sys.exit(main())
