"""The data plane: what stands between an app and a provider.

The law of this package: imports run one way, `server -> gateway -> {providers | upstream | records |
shared.counters} -> wire -> messages -> shared`; the ones in braces do not know each other; sockets live in
`server.py` and `upstream.py` and nowhere else; `app.py` alone knows everybody.
"""
