"""What looks like a secret, and what only sounds like one."""

import pytest

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, mint
from shared.secret_text import MASK, holds_secret, masked

OURS = [mint(PROXY_TAG).raw, mint(MANAGEMENT_TAG).raw]
THEIRS = [
    "sk-proj-" + "a1B2" * 10,
    "sk-ant-api03-" + "x_-9" * 20,
    "AIzaSy" + "D" * 33,
    "AQ." + "Ab8" * 15,
    "gsk_" + "q1" * 26,
    "xai-" + "Z9" * 40,
    "hf_" + "abCD" * 9,
    "AKIA" + "ABCDEFGH12345678",
    "ghp_" + "a1" * 18,
    "xoxb-" + "1234567890-" * 3,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
]


@pytest.mark.parametrize("secret", [*OURS, *THEIRS])
@pytest.mark.parametrize("around", ["{}", "my key is {}, keep it", "/keys?q={}&status=active", "x={};", "KEY={}\n"])
def test_it_works(secret: str, around: str) -> None:
    text = around.format(secret)
    assert holds_secret(text)
    assert secret not in masked(text)
    assert masked(masked(text)) == masked(text)
    assert not holds_secret(masked(text))


def test_a_part_of_ours_is_enough() -> None:
    raw = OURS[0]
    assert masked(f"a {raw} b") == f"a {raw[:13]}... b"
    assert masked(raw[:30]) == f"{raw[:13]}..."
    assert holds_secret(raw[:40].upper())


@pytest.mark.parametrize(
    "text",
    [
        "", "sk-proxy-a1b2", "sk-proxy-a1b2...", "sk-mgmt-", "gpt-4o*", "anthropic/claude-*", "task-force", "disk-usage-monitor",
        "sk-learn", "risk-assessment-of-the-quarter", "AIza", "eyJ", "ghp_", "AKIA", "backend-prod", "ft:gpt-4o-mini:org::abc123",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert not holds_secret(text)
    assert masked(text) == text


def test_a_long_text_takes_no_long_time() -> None:
    import time

    began = time.process_time()
    for text in ("sk-" * 200_000, "eyJ" * 200_000, "a-" * 300_000, "sk-proxy-" * 60_000):
        masked(text)
    assert time.process_time() - began < 2
    assert MASK == "[secret]"
