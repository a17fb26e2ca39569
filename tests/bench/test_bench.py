"""What the data plane costs, measured in one run on this machine. `make bench` prints it; docs/benchmarks.md explains.

One worker, everything on: rate limit, spend limit, journal, ledger. The upstream is nginx with a fixed answer, so what is
measured is the router. Run it alone: load generator, upstream and router share the machine's cores.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from load import hammer, streams

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

from harness import Router, eventually, free_port

pytestmark = pytest.mark.bench

SECONDS = 6
BODY = (
    '{"model":"gpt-4o-mini","max_tokens":64,"messages":[{"role":"system","content":"You are a helpful assistant that '
    'answers briefly."},{"role":"user","content":"Tell me a short story about a router that counts every nano-dollar."}]}'
)
ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1795487583,"model":"gpt-4o-mini","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Once upon a time there was a router."},"finish_reason":"stop"}],'
    '"service_tier":"default","usage":{"prompt_tokens":30,"completion_tokens":20,"total_tokens":50}}'
)


@pytest.fixture(scope="module")
def nginx(require, tmp_path_factory):
    """An upstream with a fixed answer, and a plain proxy before it: (upstream URL, proxy URL)."""
    program, folder = require("nginx"), tmp_path_factory.mktemp("nginx")
    upstream, proxy = free_port(), free_port()
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""
        worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors;
        events {{ worker_connections 2048; }}
        http {{
            access_log off; keepalive_requests 100000000; {temporary}
            upstream fixed {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
            server {{ listen 127.0.0.1:{upstream}; default_type application/json; location / {{ return 200 '{ANSWER}'; }} }}
            server {{ listen 127.0.0.1:{proxy}; location / {{
                proxy_pass http://fixed; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
        }}
        """
    )
    with subprocess.Popen([program, "-e", f"{folder}/errors", "-c", f"{folder}/nginx.conf"]) as process:
        yield f"http://127.0.0.1:{upstream}", f"http://127.0.0.1:{proxy}"
        process.terminate()


@pytest.fixture(scope="module")
def open_router(nginx, tmp_path_factory):
    """One worker whose upstream is nginx; the sandbox runs too, for the streams of another router."""
    router = Router(tmp_path_factory.mktemp("bench") / "data", workers=1, ROUTER_OPENAI_URL=nginx[0])
    router.start_all()
    yield router
    router.stop_all()


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_requests(nginx, open_router, tmp_path, capsys):
    limits = {"rate_limit_rpm": 1_000_000_000, "spend_limit_usd": "1000000", "spend_reset": "monthly"}
    key_id, key = open_router.create_key(name="bench", **limits)
    path = "/v1/chat/completions"
    ours = f"{open_router.proxy_url}{path}"
    (worker,) = open_router.worker_pids()
    with capsys.disabled():
        print(f"\nresident, fresh worker: {resident_mb(worker):.0f} MB")
        for connections in (1, 32):
            direct = hammer(nginx[0] + path, BODY, key, connections, SECONDS, tmp_path)
            plain = hammer(nginx[1] + path, BODY, key, connections, SECONDS, tmp_path)
            routed = hammer(ours, BODY, key, connections, SECONDS, tmp_path)
            print(f"{connections:3} connections, upstream alone: {direct}")
            print(f"{connections:3} connections, nginx as proxy: {plain}")
            print(f"{connections:3} connections, router:         {routed}")
            print(f"{connections:3} connections, added median:   {routed.median_ms - direct.median_ms:.2f} ms")
            assert routed.failed == 0
        print(f"resident after the load: {resident_mb(worker):.0f} MB")
    spent = open_router.key(key_id)["spend"]["spent_usd"]
    assert float(spent) > 0


def test_streams(open_router, tmp_path_factory, capsys):
    """500 streams of 50 events a second for five seconds: 25,000 events a second through one worker."""
    router = Router(tmp_path_factory.mktemp("streams") / "data", workers=1)
    router.start_all()
    try:
        key_id, key = router.create_key(name="streams", spend_limit_usd="1000000")
        url = f"{router.proxy_url}/v1/chat/completions"
        seconds_alone, events_alone = streams(
            f"{router.sandbox_url}/v1/chat/completions", "sandbox-x", 500, events=250, rate=50
        )
        seconds, events = streams(url, key, 500, events=250, rate=50)
        (worker,) = router.worker_pids()
        with capsys.disabled():
            print(f"\n500 streams, sandbox alone: {events_alone} events in {seconds_alone:.1f} s (5.0 ideal)")
            print(f"500 streams, router:        {events} events in {seconds:.1f} s (5.0 ideal)")
            print(f"resident after the streams: {resident_mb(worker):.0f} MB")
        eventually(lambda: float(router.key(key_id)["spend"]["held_usd"]) == 0, 20, "the end of all holds")
        assert events >= 500 * 250
    finally:
        router.stop_all()
