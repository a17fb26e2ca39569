"""The only place where money is derived, on the price table of genai-prices.

`bound` says what a request can cost at most, `cost` what a usage did cost, `read_usage` finds the usage in a
provider's answer. Whole numbers and fractions throughout, no floats; results are nano-dollars, rounded up once.
"""

from shared.pricing.bound import bound, fitting_output_limit
from shared.pricing.cost import MAX_COUNT, cost
from shared.pricing.rates import forget
from shared.pricing.usage import UsageReading, load, read_usage
from shared.pricing.values import Cost, Price, Size, Usage

__all__ = [
    "MAX_COUNT",
    "Cost",
    "Price",
    "Size",
    "Usage",
    "UsageReading",
    "bound",
    "cost",
    "fitting_output_limit",
    "forget",
    "load",
    "read_usage",
]
