"""An OpenAI-style provider of event streams, as a process of its own: `python stream_server.py PORT`.

The prompt says how many events a stream gets and of how many streams it is one, `events=250 of=1000`: the events begin
when all of them are there, 50 a second for each. An event carries the moment of its sending (CLOCK_MONOTONIC, which all
processes of a machine share). One thread, no event loop: every millisecond the
streams whose turn it is get their event, so that the server costs little of the machine that is being measured.
"""

import re
import select
import socket
import sys
import time

RATE = 50
SLOTS = 20  # streams are spread over the 20 ms between two of their events
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
EVENT = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795487583,"model":"gpt-4o-mini","choices":'
    '[{"index":0,"delta":{"content":"%.6f "},"finish_reason":null}]}\n\n'
)
END = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795487583,"model":"gpt-4o-mini","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795487583,"model":"gpt-4o-mini","choices":[],'
    b'"usage":{"prompt_tokens":30,"completion_tokens":%d,"total_tokens":%d}}\n\n'
    b"data: [DONE]\n\n"
)


class Stream:
    """One connection: what of its request has come, and how many events it is still to get."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.connection = connection
        self.request = b""
        self.events = self.left = self.company = 0

    def asked(self) -> bool:
        """Read; whether the whole request is there. Raises OSError when the other side has gone."""
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError
        self.request += data
        head, found, body = self.request.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if not found or length is None or len(body) < int(length[1]):
            return False
        wanted = re.search(rb"events=(\d+) of=(\d+)", body)
        self.events, self.company = map(int, wanted.groups()) if wanted else (1, 1)
        self.left = self.events
        return True


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    asking: dict[int, Stream] = {}
    waiting: list[Stream] = []
    slots: list[list[Stream]] = [[] for _ in range(SLOTS)]
    print("ready", flush=True)
    tick = int(time.monotonic() * RATE * SLOTS)
    while True:
        pause = (tick + 1) / (RATE * SLOTS) - time.monotonic()
        for number, _ in poll.poll(max(0.0, pause), 256):
            _receive(number, listener, poll, asking, waiting)
        if waiting and len(waiting) >= waiting[0].company:
            for place, stream in enumerate(waiting):
                slots[place % SLOTS].append(stream)
            waiting.clear()
        while (tick + 1) / (RATE * SLOTS) <= time.monotonic():
            tick += 1
            slots[tick % SLOTS] = [stream for stream in slots[tick % SLOTS] if _send(stream)]


def _receive(number: int, listener: socket.socket, poll: select.epoll, asking: dict, waiting: list) -> None:
    if number == listener.fileno():
        stream = Stream(listener.accept()[0])
        asking[stream.connection.fileno()] = stream
        poll.register(stream.connection, select.EPOLLIN)
        return
    stream = asking[number]
    try:
        if not stream.asked():
            return
        stream.connection.send(HEAD)
        waiting.append(stream)
    except OSError:
        stream.connection.close()
    else:
        poll.unregister(number)
    del asking[number]


def _send(stream: Stream) -> bool:
    """Send one event, or the end; whether there is more to come."""
    try:
        if stream.left:
            stream.left -= 1
            stream.connection.send(chunk((EVENT % time.monotonic()).encode()))
            return True
        stream.connection.send(chunk(END % (stream.events, 30 + stream.events)) + b"0\r\n\r\n")
    except OSError:
        pass  # the reader has gone, or takes nothing any more: it will miss its events, and says so
    stream.connection.close()
    return False


if __name__ == "__main__":
    serve(int(sys.argv[1]))
