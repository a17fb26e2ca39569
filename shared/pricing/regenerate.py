"""`python -m shared.pricing.regenerate` writes `prices.json`, our providers' part of genai-prices' table.

Workers read that file. The package itself comes with an HTTP client and pydantic, some thirty megabytes a process, and
nothing of them is needed to know a price. A test compares the file with the installed package, so that a new version
of it cannot be forgotten here.
"""

import re
from pathlib import Path
from typing import Any

import genai_prices
import orjson
from genai_prices import types
from genai_prices.data_snapshot import get_snapshot
from genai_prices.data_units import unit_data

from shared.pricing.table import PATH, PROVIDER_IDS

_TESTS: dict[type, tuple[str, str]] = {
    types.ClauseEquals: ("equals", "equals"),
    types.ClauseStartsWith: ("starts", "starts_with"),
    types.ClauseEndsWith: ("ends", "ends_with"),
    types.ClauseContains: ("contains", "contains"),
}


def table() -> dict[str, Any]:
    """The whole file's content. Raises TypeError on anything that the reader of it would not understand."""
    providers = {provider.id: provider for provider in get_snapshot().providers}
    return {
        "version": genai_prices.__version__,
        "units": {
            key: {"price": unit.get("price_key", key), "per": unit["per"], "dimensions": unit["dimensions"]}
            for key, unit in unit_data.items()
        },
        "providers": {wanted: _provider(providers[wanted]) for wanted in PROVIDER_IDS},
    }


def _provider(provider: types.Provider) -> dict[str, Any]:
    return {
        "models": [_model(model) for model in provider.models],
        "extractors": {
            extractor.api_flavor: [
                [[_step(step) for step in _path(mapping.path)], mapping.dest, mapping.required]
                for mapping in extractor.mappings
            ]
            for extractor in provider.extractors or ()
            if all(_is_readable(_path(mapping.path)) for mapping in extractor.mappings)
        },
    }


def _path(path: Any) -> tuple[Any, ...]:
    return (path,) if isinstance(path, str) else tuple(path)


def _is_readable(path: tuple[Any, ...]) -> bool:
    """Whether the reader knows the shape; spoken sessions, which are not metered, tell theirs deeper down."""
    shapes = [isinstance(step, str) for step in path]
    return shapes in ([True], [True, True]) or (shapes == [True, False, True] and path[2] == "tokenCount")


def _step(step: object) -> object:
    if isinstance(step, str):
        return step
    if isinstance(step, types.ArrayMatch):
        return {"field": step.field, "match": _clause(step.match)}
    raise TypeError(f"genai-prices has a new kind of path: {step!r}")


def _clause(clause: Any) -> list[Any]:
    """Texts are compared in lower case, so they are written so; a pattern is searched for as it is."""
    if type(clause) in _TESTS:
        test, attribute = _TESTS[type(clause)]
        return [test, getattr(clause, attribute).lower()]
    if isinstance(clause, types.ClauseRegex):
        re.compile(clause.regex)
        return ["regex", clause.regex]
    if isinstance(clause, types.ClauseOr):
        return ["or", [_clause(part) for part in clause.or_]]
    if isinstance(clause, types.ClauseAnd):
        return ["and", [_clause(part) for part in clause.and_]]
    raise TypeError(f"genai-prices has a new kind of clause: {clause!r}")


def _model(model: types.ModelInfo) -> dict[str, Any]:
    conditional = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    variants = model.price_variants or ()
    constraints = [price.constraint for price in conditional] + [variant.constraint for variant in variants]
    return {
        "id": model.id,
        "match": _clause(model.match),
        "context": model.context_window,
        "deprecated": bool(model.deprecated),
        "hourly": any(isinstance(constraint, types.TimeOfDateConstraint) for constraint in constraints),
        "prices": [[_start(price.constraint), _rates(price.prices)] for price in conditional],
        "variants": [[variant.when, _start(variant.constraint), _rates(variant.prices)] for variant in variants],
    }


def _start(constraint: object) -> str | None:
    return constraint.start_date.isoformat() if isinstance(constraint, types.StartDateConstraint) else None


def _rates(price: types.ModelPrice) -> dict[str, Any]:
    return {key: _rate(value) for key, value in vars(price).items() if value is not None}


def _rate(value: Any) -> Any:
    """Dollars, or dollars and from which input size on there are others."""
    if isinstance(value, types.TieredPrices):
        return [str(value.base), *([tier.start, str(tier.price)] for tier in value.tiers)]
    return str(value)


def main(path: Path = PATH) -> None:
    """Write the file, a model a line, so that a change of prices can be read as one."""
    content = table()
    lines = [b'{"version":' + orjson.dumps(content["version"]), b'"units":' + orjson.dumps(content["units"])]
    parts = []
    for name, provider in content["providers"].items():
        models = b",\n".join(orjson.dumps(model) for model in provider["models"])
        extractors = orjson.dumps(provider["extractors"])
        parts.append(orjson.dumps(name) + b':{"extractors":' + extractors + b',"models":[\n' + models + b"]}")
    lines.append(b'"providers":{' + b",\n".join(parts) + b"}}\n")
    path.write_bytes(b",\n".join(lines))


if __name__ == "__main__":
    main()
