"""`python -m proxyd.sandbox --bind 127.0.0.1:8090`: the sandbox provider as a process of its own."""

import argparse
import signal
import sys

import gevent

from proxyd.sandbox.server import listen
from proxyd.sandbox.service import SandboxService


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT. Port 0 takes any free one; the address is printed either way."""
    parser = argparse.ArgumentParser(prog="python -m proxyd.sandbox", description="The built-in sandbox provider.")
    parser.add_argument("--bind", default="127.0.0.1:8090", help="address and port to listen on")
    host, _, port = parser.parse_args(arguments).bind.rpartition(":")
    try:
        server = listen(host.strip("[]"), int(port), SandboxService())
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The sandbox provider cannot listen on {host}:{port}: {error}.\n")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop, 1)
    sys.stdout.write(f"sandbox provider on http://{host}:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
    return 0
