import json
import time

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.providers import BadBody, SlowBody
from proxyd.providers import body as body_module
from proxyd.providers.body import model_name, more_values_than, put, read_at_leisure, read_object


def test_it_works() -> None:
    assert read_object(b' {"model": "gpt-4o", "stream": true}') == {"model": "gpt-4o", "stream": True}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'{"a":1}x',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":"\\ud800"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":"\x00"}',
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody):
        read_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"\\u006dodel":"a","model":"b"}',
        b'{"model" : "a", "x": 1, "model"\n:"b"}',
        b'{"model":"a","max\\u005Ftokens":1,"max_tokens":2}',
        b'{"model":"a","x":{"model":1},"model":"b"}',
    ],
)
def test_a_repeated_name_is_refused_by_its_name(body: bytes) -> None:
    with pytest.raises(BadBody) as refused:
        read_object(body)
    assert refused.value.param in ("model", "max_tokens")


def test_a_repeated_deeper_name_is_refused_where_it_matters() -> None:
    body = b'{"stream_options":{"include_usage":false,"include_usage":true}}'
    nested = {"stream_options": (b'"include_usage"',)}
    with pytest.raises(BadBody):
        read_object(body, nested)
    with pytest.raises(BadBody):
        read_object(body.replace(b"stream_options", b"stream\\u005foptions"), nested)
    assert read_object(body.replace(b"stream_options", b"metadata"), nested)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","tools":[{"parameters":{"properties":{"model":{"type":"string"},"tools":{}}}}]}',
        b'{"user":"u","messages":[{"role":"user","content":"\\"model\\":1"}],"model":"a"}',
        b'{"model":"a","messages":[{"content":"caf\\u00e9 \\u0041"}]}',
        b"{" + b",".join(b'"k%d":1' % i for i in range(200)) + b"}",
        b"{}",
    ],
)
def test_names_that_only_look_repeated_pass(body: bytes) -> None:
    assert read_object(body) == json.loads(body)


def test_a_doubtful_body_of_many_objects_is_read_where_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = b'"x":[' + b"{}," * 200_000 + b"{}]"
    assert read_object(b'{"model":"a",' + objects + b"}")["model"] == "a"
    for twice in (b'"y":{"model":1},', b'"model":1,'):
        with pytest.raises(SlowBody):
            read_object(b'{"model":"a",' + twice + objects + b"}")
    monkeypatch.setattr(body_module, "_leisure", [False])
    read_at_leisure()
    assert read_object(b'{"model":"a","y":{"model":1},' + objects + b"}")["model"] == "a"
    with pytest.raises(BadBody, match="model stands twice"):
        read_object(b'{"model":"a","model":1,' + objects + b"}")


def test_c12_brackets_in_text_are_no_structure() -> None:
    code = json.dumps("int main() { return f(a[0], b[1]); }\n" * 400_000)
    assert read_object(b'{"model":"a","messages":[{"content":' + code.encode() + b"}]}")["model"] == "a"


@pytest.mark.parametrize("name", [None, 5, "", " gpt", "gpt ", "a\nb", "a\x00b", "x" * 201, "a\u200b", ["a"]])
def test_a_model_must_be_a_clean_string(name: object) -> None:
    with pytest.raises(BadBody) as refused:
        model_name(name)
    assert refused.value.param == "model"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["model", "a", "b", "", "ü", '"q"', "x\\"]), JSON),
    st.sampled_from(["model", "a", "new", '"q"']),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_setting_one_member_leaves_all_others_as_they_are(
    document: dict[str, object], name: str, indent: int | None, escaped: bool
) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=escaped).encode()
    changed = put(body, document, name, {"n": [1, "ä"]})
    assert orjson.loads(changed) == {**document, name: {"n": [1, "ä"]}}
    for other in document.keys() - {name}:
        assert json.dumps(other, ensure_ascii=escaped).encode() in changed


def test_a_name_in_disguise_is_found() -> None:
    body = b'{"a":{"model":"x"},"m\\u006fdel":"x"}'
    assert orjson.loads(put(body, orjson.loads(body), "model", "y")) == {"a": {"model": "x"}, "model": "y"}


def test_every_other_byte_stays() -> None:
    body = b' { "a" : 1.50e0 ,\n"model"  :  "x" , "b":"\\u00e9 }{" }\n'
    assert put(body, orjson.loads(body), "model", "y") == b' { "a" : 1.50e0 ,\n"model"  :  "y" , "b":"\\u00e9 }{" }\n'
    assert put(body, orjson.loads(body), "n", 2) == b' {"n":2, "a" : 1.50e0 ,\n"model"  :  "x" , "b":"\\u00e9 }{" }\n'
    assert put(b"{ }", {}, "n", 2) == b'{"n":2 }'


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[' + b"{}," * 1_000_000 + b"{}]}",
        b'{"messages":[' + b"[]," * 1_000_000 + b"[]]}",
        b"{" + b",".join(b'"f%d":0' % n for n in range(1001)) + b"}",
    ],
)
def test_a_body_that_would_keep_the_worker_busy_is_refused(body: bytes) -> None:
    with pytest.raises(BadBody, match=r"has more than [12]0+ "):
        read_object(body)


def test_a_field_is_set_without_looking_at_each_piece_of_the_others() -> None:
    """Measured 14 to 50 s for such bodies of 32 MB once, during which a worker did nothing else."""
    body = b'{"x":[[' + b'"a",0,' * 900_000 + b'{}],"model"],"stream_options":{},"model":"gpt-4o"}'
    document = read_object(body)
    began = time.process_time()
    assert put(body, document, "stream_options", {"include_usage": True}) == body.replace(
        b'"stream_options":{}', b'"stream_options":{"include_usage":true}'
    )
    assert time.process_time() - began < 2.0  # a tenth of that; 4 s piece by piece


def test_many_names_that_stand_in_values_too_are_read_exactly() -> None:
    names = [f"n{number}" for number in range(20)]
    body = json.dumps({**dict.fromkeys(names, 0), "x": names}).encode()
    assert read_object(body)["x"] == names
    with pytest.raises(BadBody, match="twice"):
        read_object(body[:-1] + b',"n19":1}')


def test_braces_in_source_code_are_no_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    code = 'if (x) { y = "\\"{["; }\n' * 110_000
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": code}], "model_": 1}).encode()
    assert body.count(b"{") > 200_000
    assert read_object(body)["messages"][0]["content"] == code
    doubtful = body.replace(b'"model_"', rb'"mode\u006c_"')  # an escape: it is read slowly and exactly
    with pytest.raises(SlowBody):
        read_object(doubtful)
    monkeypatch.setattr(body_module, "_leisure", [False])
    read_at_leisure()
    assert read_object(doubtful)["messages"][0]["content"] == code


def test_a_million_braces_in_text_are_no_structure() -> None:
    assert len(read_object(json.dumps({"a": "{[" * 600_000, "b": "\\" * 3 + '"{'}).encode())["a"]) == 1_200_000


json_values = st.recursive(
    st.text(alphabet='{}[]"\\ab:,', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='{["\\a', max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(json_values)
def test_values_are_counted_as_a_parser_would(value: object) -> None:
    def signs(item: object) -> int:
        """Brackets that open, commas and colons."""
        if isinstance(item, dict):
            return 1 + len(item) + max(len(item) - 1, 0) + sum(map(signs, item.values()))
        return 1 + max(len(item) - 1, 0) + sum(map(signs, item)) if isinstance(item, list) else 0

    body = json.dumps({"a": value}).encode()
    total = signs({"a": value})
    assert not more_values_than(total, body)
    assert more_values_than(total - 1, body)
