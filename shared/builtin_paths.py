"""The router's own pages, which belong to no provider, and the methods that they take.

To add one, add a row here and a function in `proxyd/gateway/builtin_endpoints.py`.
"""

from typing import Literal

BuiltinName = Literal["home", "health", "ready", "models", "model", "key"]
BUILTINS: dict[str, BuiltinName] = {
    "/": "home",
    "/healthz": "health",
    "/readyz": "ready",
    "/v1/models": "models",
    "/v1/key": "key",
}
READ = ("GET", "HEAD")
