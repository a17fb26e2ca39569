"""The only place where money is derived, on the price table of genai-prices and on an organisation's own prices.

`bound` says what a request can cost at most, `cost` what a usage did cost, `read_usage` finds the usage in a
provider's answer. Whole numbers and fractions throughout, no floats; results are nano-dollars, rounded up once.
"""

from shared.pricing.bound import (
    SMALLEST_LIMIT,
    Bound,
    BoundPart,
    BoundParts,
    Unbounded,
    bound,
    bound_parts,
    explain,
    fitting_output_limit,
    most_output,
)
from shared.pricing.cost import cost, cost_of_pictures
from shared.pricing.figures import whole
from shared.pricing.free import holds_a_free_price, may_be_free
from shared.pricing.own import OwnPrice, PriceBook, book_of
from shared.pricing.rates import REGIONS, load
from shared.pricing.tokens import TokenBound, bound_tokens, fitting_token_limit
from shared.pricing.usage import MAX_COUNT, UsageReading, larger, makes_no_sense, read_usage
from shared.pricing.values import Cost, Price, Size, Usage

__all__ = [
    "MAX_COUNT",
    "REGIONS",
    "SMALLEST_LIMIT",
    "Bound",
    "BoundPart",
    "BoundParts",
    "Cost",
    "OwnPrice",
    "Price",
    "PriceBook",
    "Size",
    "TokenBound",
    "Unbounded",
    "Usage",
    "UsageReading",
    "book_of",
    "bound",
    "bound_parts",
    "bound_tokens",
    "cost",
    "cost_of_pictures",
    "explain",
    "fitting_output_limit",
    "fitting_token_limit",
    "holds_a_free_price",
    "larger",
    "load",
    "makes_no_sense",
    "may_be_free",
    "most_output",
    "read_usage",
    "whole",
]
