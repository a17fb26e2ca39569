"""Every sample answer with sound or pictures costs what hand-written arithmetic says, and never more than its bound."""

import json
from decimal import ROUND_CEILING

import pytest
from media_kit import AT, understood, watching
from sample_answers_media import SAMPLES, MediaSample

from shared.pricing import bound, cost
from webapp.verification.arithmetic import expected_cost


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_it_works(sample: MediaSample) -> None:
    parsed = understood(sample.path, sample.request)
    watch = watching(sample.path, parsed)
    watch.feed(sample.answer if isinstance(sample.answer, bytes) else json.dumps(sample.answer).encode())
    watch.end()
    usage = watch.usage() or watch.delivered()
    got = cost("openai", parsed.model, usage, at=AT)
    assert got.nanos == int((sample.cost * 10**9).to_integral_value(ROUND_CEILING))
    assert got.flags == sample.flags
    assert got.price is not None
    assert expected_cost(usage.total(), json.loads(json.dumps(got.price.json))) == got.nanos
    most = bound("openai", parsed.model or "", parsed.size, at=AT)
    assert most is None or got.nanos <= most or sample.flags == ("unknown_class",)
