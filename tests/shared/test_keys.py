"""Secrets we issue."""

import hashlib
from collections.abc import Callable
from zlib import crc32

import pytest

from shared import keys


def test_it_works() -> None:
    new = keys.mint(keys.PROXY_TAG)
    assert len(new.raw) == len("sk-proxy-") + 64
    assert new.raw.startswith(new.prefix)
    assert len(new.prefix) == len("sk-proxy-a1b2")
    assert new.digest == hashlib.sha256(new.raw.encode()).hexdigest()
    assert keys.looks_like_ours(new.raw.encode(), keys.PROXY_TAG)


def test_the_last_eight_digits_are_the_checksum_of_the_others() -> None:
    body = keys.mint(keys.MANAGEMENT_TAG).raw.removeprefix("sk-mgmt-")
    assert int(body[56:], 16) == crc32(body[:56].encode())


def test_each_is_new() -> None:
    assert len({keys.mint(keys.PROXY_TAG).raw for _ in range(1000)}) == 1000


def test_a_tag_does_not_open_the_other_door() -> None:
    assert not keys.looks_like_ours(keys.mint(keys.MANAGEMENT_TAG).raw.encode(), keys.PROXY_TAG)


def test_printing_one_shows_no_secret() -> None:
    new = keys.mint(keys.PROXY_TAG)
    assert new.raw not in f"{new!r} {new}"


def test_every_single_wrong_digit_is_noticed() -> None:
    raw = keys.mint(keys.PROXY_TAG).raw
    for place in range(len("sk-proxy-"), len(raw)):
        other = "0" if raw[place] != "0" else "1"
        assert not keys.looks_like_ours(f"{raw[:place]}{other}{raw[place + 1 :]}".encode(), keys.PROXY_TAG)


@pytest.mark.parametrize("change", [str.upper, lambda raw: raw + " ", lambda raw: raw[:-1], lambda raw: raw + "0"])
def test_other_shapes_are_refused(change: Callable[[str], str]) -> None:
    assert not keys.looks_like_ours(change(keys.mint(keys.PROXY_TAG).raw).encode(), keys.PROXY_TAG)


@pytest.mark.parametrize(
    "raw", [b"", b"sk-proxy-", b"\x00" * 73, "sk-proxy-" + "٣" * 64, b"sk-proxy-" + b"g" * 64, b"a" * 1_000_000]
)
def test_junk_is_refused(raw: bytes | str) -> None:
    assert not keys.looks_like_ours(raw if isinstance(raw, bytes) else raw.encode(), keys.PROXY_TAG)


@pytest.mark.parametrize("body", ["g" * 56, "A" * 56, " " * 56, "+" + "1" * 55])
def test_a_right_checksum_of_other_characters_is_refused(body: str) -> None:
    assert not keys.looks_like_ours(f"sk-proxy-{body}{crc32(body.encode()):08x}".encode(), keys.PROXY_TAG)


def test_a_checksum_that_begins_with_zeros_is_taken_and_no_other_spelling_of_it() -> None:
    body = next(body for n in range(1_000_000) if crc32((body := f"{n:056x}").encode()) < 2**24)
    checksum = f"{crc32(body.encode()):08x}"
    assert checksum.startswith("00")
    assert keys.looks_like_ours(f"sk-proxy-{body}{checksum}".encode(), keys.PROXY_TAG)
    for other in (f"0x{checksum[2:]}", f" +{checksum[2:]}", f"0_{checksum[2:]}"):
        assert not keys.looks_like_ours(f"sk-proxy-{body}{other}".encode(), keys.PROXY_TAG)


@pytest.mark.parametrize("tag", [keys.PROXY_TAG, keys.MANAGEMENT_TAG])
def test_neither_another_beginning_nor_another_length_is_taken(tag: keys.Tag) -> None:
    body = keys.mint(tag).raw[len(tag) : -8]
    assert keys.looks_like_ours(f"{tag}{body}{crc32(body.encode()):08x}".encode(), tag)
    for start, digits in ((tag.upper(), body), ("x" * len(tag), body), (tag, body + "00"), (tag, body[2:])):
        assert not keys.looks_like_ours(f"{start}{digits}{crc32(digits.encode()):08x}".encode(), tag)
