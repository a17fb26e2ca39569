"""The words both processes use: keys, money, periods, policy, counters, records.

The law of this package: no Flask, no gevent, no sockets of its own; it imports neither `webapp` nor `proxyd`.
Time, randomness and money come in as arguments. Whatever crosses into another package is a frozen value.
"""
