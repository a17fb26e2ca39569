"""The data plane: what stands between an app and a provider.

The law of this package: imports run one way, `server -> gateway -> {accounting | key_cache | providers |
upstream} -> wire -> messages -> shared`; the ones in braces do not know each other; sockets live in the packages
`server` and `upstream` and nowhere else, save the sandbox, a server of its own; `app.py` alone knows everybody.
"""
