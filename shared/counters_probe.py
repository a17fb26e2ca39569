"""Whether the counters' server answers and can hold them (see `shared.probe`). A file needs none of this."""

import sys

from shared import probe
from shared.config import Settings
from shared.counters.redis.url import places_of

_SETTING = "ROUTER_LIMITS_URL"


def check_counters(settings: Settings) -> None:
    """Return when counters can be kept there. Raises SettingError with a sentence that repeats no password.

    What is not as it should be, but works, is logged as a warning.
    """
    url = settings.limits_url
    if not url.startswith("sqlite"):
        probe.ask("shared.counters_probe", _SETTING, url, f"Redis at {places_of(url)}")


if __name__ == "__main__":
    from shared.counters.redis.check import finding_of  # only the process that asks loads the client

    sys.exit(probe.answer(finding_of))
