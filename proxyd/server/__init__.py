"""The inbound side: listening sockets, connections, request bodies, and the drain at the end."""
