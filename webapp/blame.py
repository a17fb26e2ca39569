"""From what fails below to the setting that is to blame, for whoever started a command or the whole router."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from shared.config import SettingError, Settings
from shared.counters import CountersUnavailable
from shared.database_probe import reason_of
from shared.sentences import ended


@contextmanager
def blaming(settings: Settings) -> Iterator[None]:
    """Turn a fault of the database, the counters or the data directory into a SettingError that names the variable."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = reason_of(error, settings.database_url)
        raise SettingError(f"DATABASE_URL: the database cannot be used: {ended(reason)}") from None
    except CountersUnavailable as error:
        own = " A file there must be the router's own." if settings.limits_url.startswith("sqlite") else ""
        raise SettingError(f"ROUTER_LIMITS_URL: the counters cannot be used ({error}).{own}") from None
    except OSError as error:
        where, reason = error.filename or settings.data_dir, (error.strerror or str(error)).lower()
        raise SettingError(f"ROUTER_DATA_DIR: {where} cannot be used: {reason}.") from None
