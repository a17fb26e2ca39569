"""How many connections a worker takes, by the descriptors it may have."""

import resource
import subprocess
import sys

import pytest

from proxyd.server.limits import MAX_CONNECTIONS, connections_for

PROGRAM = """
import resource, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, min(hard, 2_000)))
from proxyd.server.server import Server
server = Server(None, None, [socket.create_server(("127.0.0.1", 0))])
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], server.limits.max_connections)
"""


def test_it_works() -> None:
    """A worker takes what it may have, not the soft limit that it was started with."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    soft, connections = map(int, done.stdout.split())
    assert soft == min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 2_000)
    assert connections == connections_for(soft)


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(1_024, 448), (100, 16), (65_536, MAX_CONNECTIONS), (resource.RLIM_INFINITY, MAX_CONNECTIONS)],
)
def test_a_connection_needs_two_descriptors_and_some_are_kept(descriptors: int, connections: int) -> None:
    assert connections_for(descriptors) == connections
