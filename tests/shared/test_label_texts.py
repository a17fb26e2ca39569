"""What may stand in `x-router-tag`."""

import pytest

from shared import keys
from shared.labels import LABEL_LENGTH, read_label


@pytest.mark.parametrize("label", ["checkout", "team a / run 7", "größe 模型", "x" * LABEL_LENGTH, "sk-proxy-a1b2"])
def test_it_works(label: str) -> None:
    assert read_label(f"  {label}\t") == label


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "empty"), (" \t", "empty"), ("x" * (LABEL_LENGTH + 1), "64 characters, not 65"), ("a\x00b", "printable"),
        ("a\u2028b", "printable"), ("a\u200bb", "printable"), ("a\u00a0b", "printable"), ("sk-ant-" + "a1" * 20, "secret"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_none(raw: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_label(raw)


def test_a_secret_is_refused_and_not_repeated() -> None:
    raw = keys.mint(keys.PROXY_TAG).raw
    with pytest.raises(ValueError, match="secret") as refused:
        read_label(raw[:60])
    assert raw[9:20] not in str(refused.value)
