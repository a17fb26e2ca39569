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
    "sk-" + "AbCdEf" * 4,
    "gsk_" + "q1" * 26,
    "xai-" + "Z9" * 40,
    "hf_" + "abCD" * 9,
    "AKIA" + "ABCDEFGH12345678",
    "ghp_" + "a1" * 18,
    "xoxb-" + "1234567890-" * 3,
    "ya29." + "a0AfB_" * 8,
    "fw_" + "3Za9" * 6,
    "nvapi-" + "x_-9" * 16,
    "csk-" + "k8f2" * 12,
    "tgp_v1_" + "Qw-3" * 10,
    "r8_" + "7Hb" * 12,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
]


@pytest.mark.parametrize("secret", [*OURS, *THEIRS])
@pytest.mark.parametrize(
    "around", ["{}", "my key is {}, keep it", "/keys?q={}&status=active", "x={};", "KEY={}\n", "prod_{}", "a_{}_b"]
)
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


@pytest.mark.parametrize("secret", [OURS[0], *THEIRS[:2], THEIRS[15]])
@pytest.mark.parametrize("dash", ["\u2010", "\u2011", "\u2013", "\u2014", "\u2212", "\ufe63", "\uff0d", "-\u200b"])
def test_a_dash_is_a_dash(secret: str, dash: str) -> None:
    """Word processors make others of them."""
    pasted = f"\u00fcber {secret.replace('-', dash)} \u00fc"
    assert holds_secret(pasted)
    assert secret[-20:] not in masked(pasted)
    assert masked(pasted)[:5] + masked(pasted)[-2:] == "\u00fcber  \u00fc"


@pytest.mark.parametrize("secret", OURS)
def test_ours_is_known_in_pieces_and_without_its_tag(secret: str) -> None:
    digits = secret.rpartition("-")[2]
    tag = secret.removesuffix(digits)
    grouped = " ".join(digits[at : at + 8] for at in range(0, 64, 8))
    for text in (
        digits,
        digits.upper(),
        f"beef{digits}beef",
        grouped,
        f"{tag} {digits}",
        f"{tag}{digits[:4]} {digits[4:]}",
    ):
        assert holds_secret(text), text
        assert not any(piece in masked(text) for piece in (digits[8:], digits.upper()[8:], *grouped.split()[1:])), text
        assert not holds_secret(masked(text)), text
    assert masked(f"{tag}{digits[:4]} {digits[4:30]}") == f"{tag}{digits[:4]}..."
    mistyped = f"{digits[:-1]}{(int(digits[-1], 16) + 1) % 16:x}"
    for text in (mistyped, digits[:-1], f"{digits[:60]} and {digits[60:]}"):
        assert masked(text) == text


def test_only_what_looks_like_one_is_masked() -> None:
    ours, theirs = OURS[0], THEIRS[0]
    assert masked(f"\u00e4 {theirs}\u00e4{ours}, {theirs}.") == f"\u00e4 {MASK}\u00e4{ours[:13]}..., {MASK}."


@pytest.mark.parametrize(
    "text",
    [
        "", "sk-proxy-a1b2", "sk-proxy-a1b2...", "sk-mgmt-", "gpt-4o*", "anthropic/claude-*", "task-force", "disk-usage-monitor",
        "sk-learn", "risk-assessment-of-the-quarter", "sk-Learn-Course-Of-The-Year", "AIza", "eyJ", "ghp_", "AKIA", "backend-prod", "ft:gpt-4o-mini:org::abc123",
        "sk-proxy-a1b2 deadbeef", "fw_", "task-csk-", "r8_something_long_without_digits", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "0" * 300, "\u2013 \u00e9t\u00e9 \u2013",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert not holds_secret(text)
    assert masked(text) == text


def test_a_long_text_takes_no_long_time() -> None:
    import time

    began = time.process_time()
    for text in (
        "sk-" * 200_000,
        "eyJ" * 200_000,
        "a-" * 300_000,
        "sk-proxy-" * 60_000,
        "0123456789abcdef" * 5_000,
        "a_-." * 50_000,
        "a1" * 31 + "x",
        "\u00fc-" * 50_000,
        "fw_" * 200_000,
    ):
        masked(text)
    assert time.process_time() - began < 2
    assert MASK == "[secret]"
