"""A sentence that ends with a reason of somebody else's ends once."""

from pathlib import Path

import pytest

from shared.config import SettingError, Settings
from shared.sentences import ended


def test_it_works() -> None:
    assert [ended(reason) for reason in ("so", "so.", "is it?", ValueError("no"))] == ["so.", "so.", "is it?", "no."]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ROUTER_TRUSTED_PROXIES", "10.0.0.1/8", ": '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        ("ROUTER_PROVIDERS_PRIVATE_ADDRESSES", "10.0.0.1/8", ": '10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"),
        ("ROUTER_LIMITS_URL", "redis://h:1?db=1", " cannot be used: after the ? it takes nothing."),
    ],
)  # fmt: skip
def test_of_settings(tmp_path: Path, name: str, value: str, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path), name: value})
    assert str(raised.value) == name + told
