"""What the data plane costs, measured in one run. `make bench` prints the table; docs/benchmarks.md explains it.

Medians of BENCH_ROUNDS interleaved rounds: a shared machine swings within minutes, and what is compared with each other
must have seen the same minutes. Run it alone: load, upstream and router share the machine's cores.
"""

import json
import os
from typing import Any

import pytest
from load import hammer, read_streams
from rig import LIMITED, UNLIMITED, Rig
from table import GOALS, SERVER_GOALS, Table
from upstreams import CHAT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))  # wrk knows whole ones only
ENFORCE = os.environ.get("BENCH_ENFORCE") == "1"
STREAMS, EVENTS = 1_000, 250
# The key whose limit is so low that the router has to set an output limit: an eighth of it is less than the model's most.
LOW_LIMIT_USD = "0.07"


@pytest.fixture(scope="module")
def rigs(nginx, events_url, folder, stores):
    """Routers by what is different about them. All have the same limits, and all are there for the whole run.

    Where something stands on a server there is one more, "files", as one machine has it.
    """
    rigs: dict[str, Rig] = {}
    try:
        for workers in (1, 2, 4):
            name = f"workers{workers}"
            rigs[name] = Rig(folder, name, workers=workers, ROUTER_OPENAI_URL=nginx.url, **stores.settings(name))
        if stores.on_servers:
            rigs["files"] = Rig(folder, "files", ROUTER_OPENAI_URL=nginx.url)
        tls = {"ROUTER_OPENAI_URL": nginx.tls_url, "SSL_CERT_FILE": str(nginx.ca_file)}
        rigs["tls"] = Rig(folder, "tls", **tls, **stores.settings("tls"))
        rigs["streams"] = Rig(folder, "streams", ROUTER_OPENAI_URL=events_url, **stores.settings("streams"))
        yield rigs
    finally:
        for rig in rigs.values():
            rig.stop()


def test_the_data_plane(nginx, events_url, rigs, stores, folder, capsys):
    table = Table(GOALS | SERVER_GOALS if stores.on_servers else GOALS)
    if (busy := os.getloadavg()[0]) > 1.5:  # about what starting the routers makes by itself
        with capsys.disabled():
            print(f"\nThis machine is busy with something else (load {busy:.1f}): the figures say little.", end="")
    resident, proportional = rigs["workers1"].memory()
    table.add("resident, fresh worker, MB", resident)
    table.add("proportional, fresh worker, MB", proportional)
    for number in range(ROUNDS):
        with capsys.disabled():
            print(f"\nround {number + 1} of {ROUNDS}", end="", flush=True)
        many_connections(nginx, rigs, stores, folder, table)
        one_connection(nginx, rigs["workers1"], folder, table)
        no_output_limit(nginx, rigs["workers1"], table)
        streams(events_url, rigs["streams"], folder, table)
    resident, proportional = rigs["workers1"].memory()
    table.add("resident, worker after the load, MB", resident)
    table.add("proportional, worker after the load, MB", proportional)
    table.add("resident, worker after the streams, MB", rigs["streams"].memory()[0])
    (folder / "figures.json").write_text(json.dumps(table.rounds, indent=1))
    with capsys.disabled():
        print(
            "",
            f"{ROUNDS} rounds of {SECONDS:g} s on {stores.said}; figures and logs: {folder}",
            *table.lines(),
            sep="\n",
        )
    for rig in rigs.values():
        rig.verify()
    assert not (ENFORCE and table.missed()), table.missed()


def many_connections(nginx, rigs, stores, folder, table) -> None:
    """32 connections: upstream alone, nginx as plain proxy, the router with 1, 2 and 4 workers, and over TLS."""
    load: dict[str, Any] = {"connections": 32, "seconds": SECONDS}
    alone = hammer(nginx.url + CHAT, LIMITED, "none", folder=folder, **load)
    plain = hammer(nginx.proxy_url + CHAT, LIMITED, "none", folder=folder, **load)
    table.add("upstream alone, requests/s", alone.requests_per_second)
    table.add("nginx as plain proxy, requests/s", plain.requests_per_second)
    redis_before = stores.redis_cpu()
    one = rigs["workers1"].requests(nginx, **load)
    if redis_before is not None:
        table.add("CPU of Redis, us a request", (stores.redis_cpu() - redis_before) * 1e6 / one.sent)
    if "files" in rigs:
        files = rigs["files"].requests(nginx, **load)
        table.add("CPU of the worker on files, us a request", files.by_kind["worker"])
        table.add("CPU of the worker, on servers / on files", one.by_kind["worker"] / files.by_kind["worker"])
    found = {"workers1": one} | {name: rigs[name].requests(nginx, **load) for name in ("workers2", "workers4", "tls")}
    for name, said in (("workers1", "1 worker"), ("workers2", "2 workers"), ("workers4", "4 workers"), ("tls", "TLS")):
        table.add(f"router, {said}, requests/s", found[name].load.requests_per_second)
    ratio = one.load.requests_per_second / plain.requests_per_second
    table.add("router / nginx as plain proxy, requests/s at 32 connections", ratio)
    table.add("p99 at 32 connections, ms", one.load.p99_ms)
    table.add("CPU of all processes, us a request", one.cpu_us)
    for kind, cpu_us in one.by_kind.items():
        table.add(f"CPU of the {kind}, us a request", cpu_us)
    table.add("CPU a request, 2 workers / 1", found["workers2"].cpu_us / one.cpu_us)
    table.add("CPU a request, 4 workers / 1", found["workers4"].cpu_us / one.cpu_us)
    table.add("CPU added by TLS to the upstream, us a request", found["tls"].cpu_us - one.cpu_us)


def one_connection(nginx, rig, folder, table) -> None:
    """One connection: what the router adds to the time of the upstream alone."""
    load: dict[str, Any] = {"connections": 1, "seconds": SECONDS}
    alone = hammer(nginx.url + CHAT, LIMITED, "none", folder=folder, **load)
    routed = rig.requests(nginx, **load).load
    table.add("upstream alone, median at 1 connection, ms", alone.median_ms)
    table.add("router, median at 1 connection, ms", routed.median_ms)
    table.add("router, p99 at 1 connection, ms", routed.p99_ms)
    table.add("added median at 1 connection, ms", routed.median_ms - alone.median_ms)
    table.add("added p99 at 1 connection, ms", routed.p99_ms - alone.p99_ms)


def no_output_limit(nginx, rig, table) -> None:
    """Clients that name no output limit, on a key so low that the router sets one, against clients that name theirs."""
    fields = {"spend_limit_usd": LOW_LIMIT_USD, "spend_reset": "monthly"}
    key = rig.router.create_key(name="low", **fields)
    load: dict[str, Any] = {"connections": 8, "seconds": SECONDS, "query": "?tiny=1", "key": key}
    with_one = rig.requests(nginx, body=LIMITED, **load)
    without = rig.requests(nginx, body=UNLIMITED, **load)
    table.add("CPU a request, no output limit / with one", without.cpu_us / with_one.cpu_us)


def streams(url, rig, folder, table) -> None:
    """1,000 streams of 50 events a second: alone, and through one worker."""
    log = folder / "streams.log"
    alone = read_streams(url + CHAT, "none", count=STREAMS, events=EVENTS, sample=lambda: None, log=log)
    assert alone.whole == STREAMS
    routed, cpu_us = rig.streams(count=STREAMS, events=EVENTS, log=log)
    table.add("streams: events/s, alone", alone.events / alone.seconds)
    table.add("streams: events/s, router", routed.events / routed.seconds)
    table.add("streams: CPU of the worker, us an event", cpu_us)
    table.add("streams: p99 alone, ms", alone.p99_ms)
    table.add("streams: added p99, ms", routed.p99_ms - alone.p99_ms)
