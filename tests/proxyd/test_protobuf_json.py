"""Numbers and lists as protocol buffers' JSON lets a client write them."""

import pytest

from proxyd.providers import BadBody
from proxyd.providers.protobuf_json import count, objects


@pytest.mark.parametrize(
    ("value", "number"),
    [(1024, 1024), ("1024", 1024), (1024.0, 1024), ("1024.0", 1024), ("1.024e3", 1024), (1e3, 1000), (0, 0), (None, None)],
)  # fmt: skip
def test_it_works(value: object, number: int | None) -> None:
    assert count({"n": value}, "n", param="n") == number


@pytest.mark.parametrize(
    "value", ["", " 1", "1 ", "0x10", "1_0", "१", 1.5, "1.5", -1, "-1", True, [], "9" * 40, "1e99", 2**60, "inf", "NaN"]
)
def test_what_is_no_count_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(BadBody) as refused:
        count({"n": value}, "n", param="config.n")
    assert refused.value.param == "config.n"


def test_one_object_is_a_list_of_one() -> None:
    assert objects({"a": {"b": 1}}, "a") == [{"b": 1}]
    assert objects({"a": [{"b": 1}]}, "a") == [{"b": 1}]
    assert objects({}, "a") == []
    for wrong in ("x", [1], 5):
        with pytest.raises(BadBody):
            objects({"a": wrong}, "a")
