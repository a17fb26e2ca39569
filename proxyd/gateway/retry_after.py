"""How long a provider asks to wait, by the headers of its answer."""

import math
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

from proxyd.messages import Header

_MOST_TOLD_SECONDS = 7 * 24 * 3600  # of nobody who asks for more is it known what he means


def seconds_in(headers: Iterable[Header]) -> float | None:
    """Seconds that an answer asks to wait (RFC 9110, section 10.2.3; OpenAI's is finer); None: it does not say."""
    told = dict(headers)
    try:
        if (milliseconds := told.get(b"retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif not (value := told.get(b"retry-after", b"").decode("ascii").strip()):
            return None
        else:
            seconds = float(value) if value[0].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def facts_in(headers: Iterable[Header]) -> dict[str, int]:
    """The same as a refusal of ours tells it, in whole seconds; empty: it does not say."""
    seconds = seconds_in(headers)
    return {} if seconds is None else {"retry_after_seconds": max(1, math.ceil(min(seconds, _MOST_TOLD_SECONDS)))}
