"""Bytes in, values out: protocols without I/O.

The law of this package: no sockets, no clocks, no greenlets. What it is given it judges; it never asks for more.
"""
