"""Two reports of one answer's usage as one: of each figure the larger, nothing forgotten."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pricing import larger


@pytest.mark.parametrize(
    ("before", "after", "merged"),
    [
        ({"a": 5, "b": 1}, {"a": 3, "b": 2}, {"a": 5, "b": 2}),
        ({"a": 5}, {"b": 2}, {"a": 5, "b": 2}),
        ({"a": 5}, {"a": None}, {"a": 5}),
        ({"a": None}, {"a": 5}, {"a": 5}),
        ({"a": {"x": 5}}, {"a": {"x": 0, "y": 1}}, {"a": {"x": 5, "y": 1}}),
        ({"a": {"x": 5}}, {"a": 0}, {"a": {"x": 5}}),
        ({"tier": "flex"}, {"tier": "priority"}, {"tier": "priority"}),
        (
            {"d": [{"modality": "TEXT", "n": 5}, {"modality": "AUDIO", "n": 9}]},
            {"d": [{"modality": "AUDIO", "n": 1}, {"modality": "IMAGE", "n": 2}]},
            {"d": [{"modality": "TEXT", "n": 5}, {"modality": "AUDIO", "n": 9}, {"modality": "IMAGE", "n": 2}]},
        ),
        (
            {"d": [{"modality": "AUDIO", "tokenCount": 400}, {"modality": "AUDIO", "tokenCount": 400}]},
            {"d": [{"modality": "AUDIO", "tokenCount": 450}, {"modality": "AUDIO", "tokenCount": "300"}]},
            {"d": [{"modality": "AUDIO", "tokenCount": 800}]},
        ),
        ({"a": "1120"}, {"a": "30"}, {"a": 1120}),
        ({"a": "1120"}, {"a": 1130}, {"a": 1130}),
        ({"i": [{"n": 5}, {"n": 6}]}, {"i": [{"n": 7}]}, {"i": [{"n": 7}, {"n": 6}]}),
    ],
)
def test_it_works(before: dict[str, Any], after: dict[str, Any], merged: dict[str, Any]) -> None:
    assert larger(before, after) == merged


FIGURES = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 100), max_size=4)


@given(st.lists(FIGURES, min_size=1, max_size=6))
def test_no_figure_ever_falls(reports: list[dict[str, int]]) -> None:
    told = reports[0]
    for report in reports[1:]:
        told = larger(told, report)
    for name in {name for report in reports for name in report}:
        assert told[name] == max(report[name] for report in reports if name in report)
