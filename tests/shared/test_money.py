"""Nano-dollars and their decimal strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import money


def test_it_works() -> None:
    assert money.from_usd("20") == 20_000_000_000
    assert money.to_usd(20_000_000_000) == "20.00"
    assert money.from_usd("0.000000001") == 1
    assert money.to_usd(1) == "0.000000001"


@given(st.integers(0, money.MAX_NANOS))
def test_every_amount_survives_the_way_to_text_and_back(nanos: int) -> None:
    assert money.from_usd(money.to_usd(nanos)) == nanos


def test_negative_amounts_can_be_shown() -> None:
    assert money.to_usd(-1_500_000_000) == "-1.50"


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1e3", "1,000", "NaN", "inf", "0x10", "1.", ".5", "1.0000000001", "٣", "1 000", "1_000"]
)
def test_what_is_not_a_plain_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        money.from_usd(text)


def test_the_largest_amount_is_exact_and_the_next_is_refused() -> None:
    assert money.from_usd("9007199.254740991") == 2**53 - 1
    with pytest.raises(ValueError, match="less than"):
        money.from_usd("9007199.254740992")


def test_zeros_behind_the_ninth_place_are_harmless() -> None:
    assert money.from_usd("0.5000000000000") == 500_000_000
