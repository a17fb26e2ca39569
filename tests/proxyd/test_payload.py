"""Bodies that are not metered: what goes on, and the model that is read in them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from proxyd.gateway import payload
from proxyd.gateway.payload import MAX_JSON_BYTES, Payload
from proxyd.messages import BadRequest, Request
from proxyd.providers import BadBody, model_field

HEAD = b"--xYz\r\nContent-Disposition: form-data; name=%b\r\n\r\n"
FORM = "multipart/form-data; boundary=xYz"
END = b"\r\n--xYz--\r\n"
FILE = b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'


@dataclass
class Pieces:
    """A body in pieces that counts how many were taken."""

    pieces: list[bytes]
    chunked: bool = False
    taken: int = 0
    limit_bytes: list[int] = field(default_factory=list)

    @property
    def length(self) -> int | None:
        return None if self.chunked else sum(map(len, self.pieces))

    def read(self, limit_bytes: int) -> bytes:
        return b"".join(self.chunks(limit_bytes))

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        self.limit_bytes.append(limit_bytes)
        for piece in self.pieces:
            self.taken += 1
            yield piece


@dataclass
class Keeper:
    """Has room for everything, and remembers for how much it was asked."""

    body: Pieces
    asked: list[int] = field(default_factory=list)

    def whole(self) -> bytes:
        return self.body.read(MAX_JSON_BYTES)

    def make_room(self, size: int) -> None:
        assert size == sum(map(len, self.body.pieces[: self.body.taken]))
        self.asked.append(size)

    def model_in(self, data: bytes) -> str | None:
        return model_field.in_json(data)


class Nobody:
    peer = "10.0.0.1"
    gone = False

    def on_gone(self, callback: object) -> None:
        raise AssertionError


def read(
    *pieces: bytes,
    kind: str | None = "application/json",
    path: str = "/v1/x",
    form_bytes: int = payload.MAX_FORM_BYTES,
    chunked: bool = False,
) -> tuple[Payload, Pieces]:
    body = Pieces(list(pieces), chunked)
    headers = () if kind is None else ((b"content-type", kind.encode()),)
    request = Request("POST", path, "", headers, Nobody(), body)
    found = payload.read(request, path, Keeper(body), form_bytes=form_bytes)
    return found, body


def sent(found: Payload) -> bytes:
    return found.body if isinstance(found.body, bytes) else b"".join(found.body)


def test_it_works() -> None:
    data = b'{"model":"gpt-image-1","prompt":"a model"}'
    found, body = read(data[:9], data[9:])
    assert found == ("gpt-image-1", data, len(data))
    assert body.limit_bytes == [payload.MAX_JSON_BYTES]


def test_nothing_is_nothing() -> None:
    assert read(kind=None)[0] == (None, b"", 0)


@pytest.mark.parametrize(
    ("document", "model"),
    [
        ({"input": "x"}, None),
        ({"model": "models/gemini-2.5-flash"}, "gemini-2.5-flash"),
        ({"session": {"type": "realtime", "model": "gpt-realtime"}}, "gpt-realtime"),
        ({"model": "a", "thread": {"model": "a"}}, "a"),
        ({"model": "a", "grader": [{"model": "b"}]}, None),
        ({"model": "a", "grader": {"model": 5}}, None),
        ({"model": 5}, None),
        ({"model": " a"}, None),
        ({"model": "a", "contents": [{"role": "model"}]}, "a"),
        ({"model": "a", "input": 'say "model": "b"'}, "a"),
        ({"input": [[[{"x": {"model": "deep"}}]]]}, "deep"),
    ],
)
def test_the_model_in_json(document: object, model: str | None) -> None:
    data = json.dumps(document).encode()
    assert read(data)[0] == (model, data, len(data))


@pytest.mark.parametrize(
    "data",
    [
        rb'{"mod\u0065l":"b"}',
        rb'{"model":"a","x":{"mod\u0065l":"b"}}',
        b'{"x":{"model":"a","model":"b"}}',
    ],
)
def test_a_model_in_disguise_and_a_second_one_are_none(data: bytes) -> None:
    assert read(data)[0].model is None


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"[]", b'{"model":"a","model":"b"}', rb'{"model":"a","\u006dodel":"b"}',
        rb'{"x":{"model":"a","mod\u0065l":"b"}}',
    ],
)  # fmt: skip
def test_bad_json_is_refused_where_it_is_declared(data: bytes) -> None:
    with pytest.raises(BadBody):
        read(data)
    found, _ = read(data, kind="text/plain")
    assert found == (None, data, len(data))


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_json_of_another_type_is_read_too(kind: str | None) -> None:
    assert read(b'{"model":"m"}', kind=kind)[0].model == "m"


def test_a_body_without_type_or_length_goes_on_unread() -> None:
    found, body = read(b"a", b"b", kind=None, chunked=True)
    assert (found.model, found.length, body.taken) == (None, None, 0)
    assert sent(found) == b"ab"


def test_the_second_step_of_an_upload_is_never_looked_into() -> None:
    found, body = read(b"{", kind="application/json", path="/upload/v1beta/files")
    assert (found.length, body.taken) == (1, 0)
    assert (sent(found), body.limit_bytes) == (b"{", [payload.MAX_UPLOAD_BYTES])


def test_a_form_is_read_only_as_far_as_its_model() -> None:
    pieces = (HEAD % b"model", b"\r\nwhisper-1"[2:], b"\r\n" + FILE, b"sound" * 1000, END)
    found, body = read(*pieces, kind=FORM)
    assert (found.model, body.taken, found.length) == ("whisper-1", 3, sum(map(len, pieces)))
    assert sent(found) == b"".join(pieces)


def test_a_model_behind_the_file_is_found() -> None:
    pieces = (FILE, b"sound" * 1000, b"\r\n" + HEAD % b"model", b"whisper-1", END)
    found, body = read(*pieces, kind=FORM)
    assert (found.model, body.taken, found.length) == ("whisper-1", 5, sum(map(len, pieces)))
    assert sent(found) == b"".join(pieces)


@pytest.mark.parametrize(
    "rest",
    [
        b"\r\n" + HEAD % b"model" + b"dear" + END,
        b"\r\n--xYz \r\n",
        b"\r\n" + HEAD % b"mo\\del" + b"dear" + END,
    ],
)
def test_what_could_change_the_model_later_breaks_the_request_off(rest: bytes) -> None:
    found, _ = read(HEAD % b"model" + b"cheap\r\n" + FILE, b"sound", rest, kind=FORM)
    assert found.model == "cheap"
    assert isinstance(found.body, Iterator)
    got: list[bytes] = []
    with pytest.raises(BadRequest):
        got.extend(found.body)
    assert rest not in b"".join(got)


def test_a_form_that_ends_early_is_no_form() -> None:
    found, _ = read(HEAD % b"model" + b"cheap\r\n" + FILE, b"sound", kind=FORM)
    with pytest.raises(BadRequest, match="not complete"):
        sent(found)


def test_a_form_in_doubt_names_no_model_and_goes_on() -> None:
    data = HEAD % b"model" + b"a\r\n" + HEAD % b"model" + b"b" + END
    assert read(data, kind=FORM)[0].model is None
    odd = b"\n" + data
    found, _ = read(odd[:5], odd[5:], kind=FORM)
    assert (found.model, sent(found)) == (None, odd)


def test_a_form_whose_model_does_not_come_in_time_names_none() -> None:
    pieces = (FILE, b"s" * 600, b"s" * 600, b"s" * 600, b"\r\n" + HEAD % b"model" + b"m" + END)
    found, body = read(*pieces, kind=FORM, form_bytes=1000)
    assert (found.model, body.taken) == (None, 3)
    assert sent(found) == b"".join(pieces)


def test_a_file_for_which_no_model_matters_is_not_kept() -> None:
    found, body = read(FILE, b"x" * 100, END, kind=FORM, form_bytes=0)
    assert (found.model, body.taken) == (None, 0)
    assert sent(found) == FILE + b"x" * 100 + END


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("", None), ("model=gpt-realtime", "gpt-realtime"), ("a=b&mod%65l=x", "x"), ("model=a&model=b", None),
        ("model=a&model=a", "a"), ("model=", None), ("models=x", None),
    ],
)  # fmt: skip
def test_the_model_in_the_query(query: str, model: str | None) -> None:
    assert model_field.in_query(query) == model
    assert model_field.is_contradicted(query, model or "y") is (query == "model=a&model=b")
    assert not model_field.is_contradicted(query, f"models/{model}") or model is None
    assert model_field.is_contradicted(f"{query}&mo%64el=another", model or "y")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", None), ("alt=media&pageSize=5", None), ("upload_id=1&upload_protocol=resumable", None), ("request=1", None),
        ("a=b&$httpHeaders=x", "$httpHeaders"), ("%24req={}", "$req"), ("$.httpMethod=POST", "$.httpMethod"), ("ct", "ct"),
    ],
)  # fmt: skip
def test_what_would_make_another_request_of_it_is_named(query: str, name: str | None) -> None:
    assert payload.steering_parameter(query) == name
