"""Nano-dollars and the decimal strings people see. Money is an `int` of 1e-9 USD everywhere else."""

import re

NANOS_PER_USD = 1_000_000_000
MAX_NANOS = 2**53 - 1  # counters in Lua are doubles: exact only below 2**53 (9,007,199 USD)
# What one request may cost at most where no limit says less. The sum of what is held at once has to stay below the
# line above, or what ends would give back more than it had taken.
MAX_BOUND_NANOS = 10**14  # 100,000 USD

_DECIMAL = re.compile(r"(\d{1,16})(?:\.(\d{1,18}))?")


def to_usd(nanos: int) -> str:
    """A decimal string with at least two and at most nine places: 1_500_000_000 -> "1.50"."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANOS_PER_USD)
    places = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{places}"


def from_usd(text: str) -> int:
    """Read a plain decimal of dollars. Raises ValueError with a sentence for people.

    Refused: signs, exponents, separators, more than nine places that are not zero, and 2**53 nano-dollars or more.
    """
    match = _DECIMAL.fullmatch(text.strip())
    if match is None or not text.isascii():
        raise ValueError("must be a plain amount in dollars, such as 20 or 0.50")
    places = (match[2] or "").ljust(9, "0")
    if places[9:].strip("0"):
        raise ValueError("must not have more than nine decimal places")
    nanos = int(match[1]) * NANOS_PER_USD + int(places[:9])
    if nanos > MAX_NANOS:
        raise ValueError("must be less than 9007199.25 dollars")
    return nanos
