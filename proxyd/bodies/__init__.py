"""Large request bodies: how much of them is in memory at once, and where they are parsed.

The law of this package: the event loop never parses what takes long. A fast JSON parser in a thread would hold the
interpreter all the same, so there is a process for it; docs/decisions/0010 has the figures.
"""
