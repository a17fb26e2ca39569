"""A field of a form is found in one way or not at all."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxyd.wire.multipart import MAX_PART_HEAD_BYTES, MAX_VALUE_BYTES, FieldReader, FormError, boundary_of

FIELD = b'Content-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FILE = b'Content-Disposition: form-data; name="file"; filename="a; name=model.wav"\r\nContent-Type: audio/wav\r\n\r\n%b\r\n'


def form(*parts: bytes, end: bytes = b"--xYz--\r\n") -> bytes:
    return b"".join(b"--xYz\r\n" + part for part in parts) + end


def read(body: bytes, size: int = 1 << 20) -> list[bytes]:
    reader = FieldReader(b"xYz", b"model")
    for at in range(0, len(body), size):
        reader.feed(body[at : at + size])
    reader.end()
    return reader.values


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_it_works(size: int) -> None:
    sound = bytes(range(256)) * 40 + b"\r\n--xY\r\n-- xYz"
    body = form(FIELD % (b"language", b""), FILE % sound, FIELD % (b"model", b"whisper-1"))
    assert read(body, size) == [b"whisper-1"]


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (form(FIELD % (b"prompt", b"model")), []),
        (form(FIELD % (b"model", b"")), [b""]),
        (form(FIELD % (b"model", b"a"), FIELD % (b"model", b"b")), [b"a", b"b"]),
        (form(b"Content-Disposition: form-data; name=model\r\n\r\na\r\n"), [b"a"]),
        (form(b'content-disposition:form-data;name="model"\r\nContent-Type: text/plain\r\n\r\na\r\n'), [b"a"]),
        (form(FIELD % (b"model", b"a"), end=b"--xYz--"), [b"a"]),
        (form(FIELD % (b"Model", b"a"), FIELD % (b"models", b"b"), FIELD % (b"metadata[model]", b"c")), []),
        (form(FIELD % (b"model", b"a"), end=b"--xYz--\r\nsome epilogue"), [b"a"]),
        (form(FIELD % (b"model", b"line\r\nbreak")), [b"line\r\nbreak"]),
    ],
)
def test_what_a_form_says(body: bytes, values: list[bytes]) -> None:
    assert read(body) == values
    assert read(body, 1) == values


@pytest.mark.parametrize(
    "body",
    [
        b"",
        form(FIELD % (b"model", b"a"), end=b""),
        form(FIELD % (b"model", b"a"), end=b"--xYz"),
        b"preamble\r\n" + form(FIELD % (b"model", b"a")),
        b"\r\n" + form(FIELD % (b"model", b"a")),
        form(FILE % b"x\n--xYz\nContent-Disposition: form-data; name=model\n\nb"),  # delimiters of bare line feeds
        form(FILE % b"x\r\n--xYz \r\nContent-Disposition: form-data; name=model\r\n\r\nb"),
        form(FILE % b"--xYzzz"),
        form(b'Content-Disposition: form-data; name="mo\\del"\r\n\r\na\r\n'),
        form(b'Content-Disposition: form-data; name="%6dodel"\r\n\r\na\r\n'),
        form(b"Content-Disposition: form-data; name*=UTF-8''model\r\n\r\na\r\n"),
        form(b"Content-Disposition: form-data; name=\"x\"; name*=UTF-8''model\r\n\r\na\r\n"),
        form(b'Content-Disposition: form-data; name="x"; name="model"\r\n\r\na\r\n'),
        form(b'Content-Disposition: form-data; name="model"; filename="m.txt"\r\n\r\na\r\n'),
        form(b'Content-Disposition: form-data;\r\n name="model"\r\n\r\na\r\n'),
        form(b'Content-Disposition : form-data; name="model"\r\n\r\na\r\n'),
        form(b'Content-Disposition: attachment; name="model"\r\n\r\na\r\n'),
        form(b"Content-Type: text/plain\r\n\r\na\r\n"),
        form(b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n'),
        form(b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n'),
        form(FIELD % (b"model", b"a" * (MAX_VALUE_BYTES + 1))),
        form(b"X: " + b"y" * MAX_PART_HEAD_BYTES + b"\r\n" + FIELD % (b"model", b"a")),
        form(FIELD % (b"x", b"a"), end=b"--xYz--\r\n--xYz\r\n" + FIELD % (b"model", b"b") + b"--xYz--\r\n"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    for size in (1 << 20, 1, 5):
        with pytest.raises(FormError):
            read(body, size)


@given(
    st.lists(st.tuples(st.sampled_from([b"model", b"file", b"prompt"]), st.binary(max_size=300)), max_size=5),
    st.integers(1, 80),
)
def test_pieces_make_no_difference(parts: list[tuple[bytes, bytes]], size: int) -> None:
    body = form(*(FIELD % part for part in parts))
    assume(body.count(b"--xYz") == len(parts) + 1)
    assert read(body, size) == [value for name, value in parts if name == b"model"]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_no_bytes_break_it(data: bytes, size: int) -> None:
    with pytest.raises(FormError):
        read(form(data), size)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;boundary="a b"', b"a b"),
        ("multipart/form-data; boundary=abc; charset=utf-8", b"abc"),
        ("multipart/form-data; charset=utf-8; boundary=abc", None),
        ("multipart/form-data; boundary=abc; boundary=def", None),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=a b", None),
        ("multipart/form-data; boundary*=utf-8''abc", None),
        (f"multipart/form-data; boundary={'a' * 71}", None),
        ("multipart/mixed; boundary=abc", None),
        ("application/json", None),
    ],
)
def test_the_boundary_is_told_by_the_type(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary
