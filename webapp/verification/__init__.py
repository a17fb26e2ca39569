"""A second opinion on the money: rows recomputed from what they store, sums from rows, counters against sums.

Nothing here writes, and nothing here shares the arithmetic of `shared.pricing`: a fault there must not hide itself.
"""
