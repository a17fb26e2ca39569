"""The load: wrk for requests, two small processes of ours for streams."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Load:
    """What wrk saw in one run. `answered` counts complete answers; those cut off at the end are not among them."""

    answered: int
    requests_per_second: float
    median_ms: float
    p99_ms: float
    failed: int


# One key after the other; the one thread of wrk has one Lua state.
_IN_TURN = """
local keys, number = {}, 0
for key in io.lines(KEYS) do keys[#keys + 1] = key end
wrk.method, wrk.body, wrk.headers["Content-Type"] = "POST", BODY, "application/json"
function request()
  number = number % #keys + 1
  wrk.headers["Authorization"] = "Bearer " .. keys[number]
  return wrk.format()
end
"""


def hammer(url: str, body: str, key: str, *, connections: int, seconds: float, folder: Path) -> Load:
    """POST `body` over and over on keep-alive connections."""
    script = (
        f"wrk.method='POST'; wrk.body=[[{body}]]; wrk.headers['Content-Type']='application/json'; "
        f"wrk.headers['Authorization']='Bearer {key}'"
    )
    return _wrk(url, script, connections, seconds, folder)


def hammer_in_turn(url: str, body: str, keys: Sequence[str], *, connections: int, seconds: float, folder: Path) -> Load:
    """The same with another key for each request, as `keys` come."""
    names = folder / "keys.txt"
    names.write_text("\n".join(keys) + "\n")
    script = f"KEYS, BODY = [[{names}]], [[{body}]]\n{_IN_TURN}"
    return _wrk(url, script, connections, seconds, folder)


def _wrk(url: str, script: str, connections: int, seconds: float, folder: Path) -> Load:
    path = folder / "post.lua"
    path.write_text(script)
    command = [
        "wrk",
        "-t1",
        "--timeout",
        "30s",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "-s",
        str(path),
        "--latency",
        url,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    with (folder / "wrk.log").open("a") as log:
        log.write(f"{url}\n{said}\n")
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return Load(
        answered=int(_found(r"(\d+) requests in", said)[1]),
        requests_per_second=float(_found(r"Requests/sec:\s+([\d.]+)", said)[1]),
        median_ms=_milliseconds("50%", said),
        p99_ms=_milliseconds("99%", said),
        failed=(int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )


def _found(pattern: str, said: str) -> re.Match[str]:
    found = re.search(pattern, said)
    assert found is not None, said
    return found


def _milliseconds(percentile: str, said: str) -> float:
    found = _found(rf"{percentile}\s+([\d.]+)(us|ms|s)\b", said)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]]


@dataclass(frozen=True)
class Streams:
    """What the readers of many streams saw while all of them were running."""

    events: int  # between the two moments at which `sample` was called
    seconds: float
    p99_ms: float  # from the server's send to the reader's receive, of these events
    whole: int  # streams that came to their end with every event


def read_streams(url: str, key: str, *, count: int, events: int, sample: Callable[[], None], log: Path) -> Streams:
    """Read `count` streams of `events` events each. `sample` is called when all run, and again before the first ends."""
    command = [sys.executable, str(HERE / "stream_client.py"), url, str(count), str(events)]
    with (
        log.open("a") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(key)  # not an argument: those are seen by everybody on the machine
        process.stdin.close()
        for line in process.stdout:
            said = json.loads(line)
            if said["now"] == "done":
                return Streams(said["events"], said["seconds"], said["p99_ms"], said["whole"])
            sample()
    raise AssertionError(f"the readers of the streams ended with {process.returncode}: {log.read_text()[-2000:]}")
