"""Load for the benchmarks: wrk where it is installed, else greenlets; and many event streams at once."""

import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass

import gevent
from gevent import socket as cooperative


@dataclass(frozen=True)
class Figures:
    """What one run showed."""

    requests_per_second: float
    median_ms: float
    p99_ms: float
    failed: int

    def __str__(self) -> str:
        failed = f", {self.failed} FAILED" if self.failed else ""
        return f"{self.requests_per_second:8,.0f} requests/s, median {self.median_ms:.2f} ms, p99 {self.p99_ms:.2f} ms{failed}"


def hammer(url: str, body: str, key: str, connections: int, seconds: int, folder) -> Figures:
    """POST `body` over and over on keep-alive connections."""
    if shutil.which("wrk") is None:
        return _greenlets(url, body, key, connections, seconds)
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method='POST'; wrk.body=[[{body}]]; wrk.headers['Content-Type']='application/json'; "
        f"wrk.headers['Authorization']='Bearer {key}'"
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), "--latency", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    assert rate is not None, said
    return Figures(float(rate[1]), _wrk_ms(said, "50%"), _wrk_ms(said, "99%"), int(failed[1]) if failed else 0)


def _wrk_ms(said: str, percentile: str) -> float:
    found = re.search(rf"{percentile}\s+([\d.]+)(us|ms|s)", said)
    assert found is not None, said
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


def _greenlets(url: str, body: str, key: str, connections: int, seconds: int) -> Figures:
    host, port, path = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    ends = time.perf_counter() + seconds
    took: list[float] = []
    failed = 0

    def run() -> None:
        nonlocal failed
        connection = cooperative.create_connection((host, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (started := time.perf_counter()) < ends:
            connection.sendall(request)
            answer = _answer(connection)
            took.append(time.perf_counter() - started)
            failed += not answer.startswith(b"HTTP/1.1 200")

    gevent.joinall([gevent.spawn(run) for _ in range(connections)], raise_error=True)
    took.sort()
    return Figures(len(took) / seconds, took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000, failed)


def _answer(connection) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65536)
    return data


def streams(url: str, key: str, count: int, events: int, rate: int) -> tuple[float, int]:
    """`count` streams at once of `events` events at `rate` a second each: seconds until the last end, events seen."""
    host, port, path = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    body = (
        '{"model":"gpt-4o-mini","stream":true,"max_tokens":4096,"messages":[{"role":"user",'
        f'"content":"sandbox:events={events},rate={rate}"}}]}}'
    )
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    seen = 0

    def run() -> None:
        nonlocal seen
        connection = cooperative.create_connection((host, int(port)))
        connection.sendall(request)
        tail = b""
        while b"[DONE]" not in tail:
            data = connection.recv(65536)
            assert data, "the stream broke off"
            seen += data.count(b"data: {")
            tail = (tail + data)[-64:]
        connection.close()

    started = time.perf_counter()
    gevent.joinall([gevent.spawn(run) for _ in range(count)], raise_error=True)
    return time.perf_counter() - started, seen
