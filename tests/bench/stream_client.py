"""Readers of many streams at once: `python stream_client.py URL COUNT EVENTS`, the proxy key on standard input.

Says as JSON lines when all streams run, when the first is about to end, and at the end what was seen in between. One
thread and a bare epoll, because the readers share the machine with what they measure.
"""

import json
import re
import select
import socket
import sys
import time

MARK = re.compile(rb'"content":"([0-9.]+) "')


class Reader:
    """One stream."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.connection = socket.create_connection((host, port))
        self.connection.sendall(request)
        self.rest = b""
        self.seen = 0

    def events(self) -> list[bytes] | None:
        """The moments of sending of the events that have come; None at the end."""
        data = self.connection.recv(262144)
        if not data:
            return None
        data = self.rest + data
        whole, _, self.rest = data.rpartition(b"\n\n")
        found = MARK.findall(whole)
        self.seen += len(found)
        return None if b"[DONE]" in whole else found


def read(url: str, key: str, count: int, events: int) -> None:
    found = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url)
    assert found is not None
    host, port, path = found.groups()
    body = (
        '{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"max_tokens":4096,"messages":'
        f'[{{"role":"user","content":"events={events} of={count}"}}]}}'
    )
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    poll = select.epoll()
    readers = {}
    for _ in range(count):
        reader = Reader(host, int(port), request)
        readers[reader.connection.fileno()] = reader
        poll.register(reader.connection, select.EPOLLIN)
    waiting, whole = set(readers), 0
    delays: list[float] = []
    began = ended = 0.0
    while readers:
        for number, _ in poll.poll(30):
            reader = readers[number]
            sent = reader.events()
            now = time.monotonic()
            if began and not ended:
                delays += [now - float(moment) for moment in sent or ()]
            if sent and waiting:
                waiting.discard(number)
                if not waiting:
                    print(json.dumps({"now": "all run"}), flush=True)
                    began = time.monotonic()
            if began and not ended and reader.seen >= events - 2:
                ended = time.monotonic()
                print(json.dumps({"now": "first ends"}), flush=True)
            if sent is None:
                whole += reader.seen == events
                poll.unregister(number)
                reader.connection.close()
                del readers[number]
    delays.sort()
    assert delays, "no moment at which all streams ran"
    said = {"now": "done", "events": len(delays), "seconds": ended - began, "whole": whole}
    print(json.dumps(said | {"p99_ms": delays[len(delays) * 99 // 100] * 1000}), flush=True)


if __name__ == "__main__":
    read(sys.argv[1], sys.stdin.read().strip(), int(sys.argv[2]), int(sys.argv[3]))
