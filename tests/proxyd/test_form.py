"""A form that is metered has one reading: its parts, its short texts, the sizes of its files; or it is refused."""

from dataclasses import replace

import pytest
from form_kit import BOUNDARY, form, part, raw_form
from hypothesis import given
from hypothesis import strategies as st

from proxyd.providers.base import BadBody
from proxyd.providers.openai_forms import fields_of
from proxyd.wire.form import MAX_PARTS, FormReader, Part
from proxyd.wire.multipart import MAX_VALUE_BYTES, FormError

SOUND = b"RIFF\r\n--" + BOUNDARY[:-1] + b"\r\n" * 50


def read(body: bytes, size: int = 1 << 20) -> list[Part]:
    reader = FormReader(BOUNDARY)
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    reader.end()
    return reader.parts


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
def test_it_works(size: int) -> None:
    body = form([("model", "whisper-1"), ("file", SOUND), ("prompt", "x" * 2_000), ("language", "")])
    found = read(body, size)
    assert [body[part.start : part.start + part.size] for part in found] == [
        b"whisper-1", SOUND, b"x" * 2_000, b"",
    ]  # fmt: skip
    assert [replace(part, start=0) for part in found] == [
        Part("model", file=False, size=9, text=b"whisper-1"),
        Part("file", file=True, size=len(SOUND), text=None),
        Part("prompt", file=False, size=2_000, text=None),
        Part("language", file=False, size=0, text=b""),
    ]


@given(
    st.lists(st.tuples(st.sampled_from(("n", "image", "prompt")), st.binary(max_size=80)), max_size=5),
    st.integers(1, 40),
)
def test_files_of_any_bytes_are_measured_to_the_byte(files: list[tuple[str, bytes]], size: int) -> None:
    files = [(name, content.replace(BOUNDARY, b"")) for name, content in files]
    assert [(found.name, found.size) for found in read(form(files), size)] == [
        (name, len(content)) for name, content in files
    ]


@pytest.mark.parametrize(
    "head",
    [b"Content-Transfer-Encoding: base64\r\n", b"X-Other: 1\r\n", b'Content-Disposition: form-data; name="n"\r\n'],
)
def test_a_text_that_readers_could_take_for_something_else_is_refused(head: bytes) -> None:
    with pytest.raises(FormError):
        read(raw_form([part("model", "gpt-image-2", head)]))


def test_a_form_of_very_many_parts_is_refused() -> None:
    assert len(read(form([("x[]", "1")] * MAX_PARTS))) == MAX_PARTS
    with pytest.raises(FormError, match="more than"):
        read(form([("x[]", "1")] * (MAX_PARTS + 1)))


def test_fields_have_their_types() -> None:
    fields: list[tuple[str, str | bytes]] = [
        ("model", "gpt-image-2"), ("n", "3"), ("stream", "True"), ("svg[model]", "gpt-5"), ("image[]", b"png"),
        ("image[]", b"png!"), ("mask", "https://pictures.test/x"), ("prompt", "two words"),
    ]  # fmt: skip
    found = fields_of(read(form(fields)))
    assert found.document == {"model": "gpt-image-2", "n": 3, "stream": True, "svg": True}
    assert (found.media, found.media_bytes) == (3, 7)
    assert found.text_bytes == sum(len(value) for _, value in fields if isinstance(value, str))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([("n", "1"), ("n", "2")], "n"),
        ([("n[]", "2")], "n"),
        ([("model", b"gpt-image-2")], "model"),
        ([("model", "m" * (MAX_VALUE_BYTES + 1))], "model"),
        ([("n", "-1")], "n"),
        ([("n", "1e3")], "n"),
        ([("n", "²")], "n"),
        ([("n", "9" * 10)], "n"),
        ([("stream", "yes")], "stream"),
        ([("stream", "")], "stream"),
        ([("quality", "high"), ("quality[x]", "low")], "quality"),
    ],
)
def test_a_field_that_decides_about_money_has_one_reading(fields: list[tuple[str, str | bytes]], param: str) -> None:
    with pytest.raises(BadBody) as refused:
        fields_of(read(form(fields)))
    assert refused.value.param == param
    assert param in refused.value.message
