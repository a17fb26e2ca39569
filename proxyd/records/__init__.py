"""What the data plane remembers: keys it has looked up, attempts it has begun, usage it has written down.

Nothing here waits on a socket. Database work goes through an `offload` that the composition root injects (native
threads in a worker, a plain call in tests), because SQLite would stop the event loop and every stream with it.
"""

from collections.abc import Callable
from typing import Any

Offload = Callable[..., Any]
