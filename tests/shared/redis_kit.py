"""Redis servers for tests: on a socket and a port of their own, with nothing on disk; three of them as a cluster; and a
wire to one that can be cut.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import redis
from certificates import self_signed
from limits.storage import storage_from_string
from machine import find

from shared.counters import Clock
from shared.counters.redis.storage import SingleStorage

START_SECONDS = 10.0


def until(true: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Wait for a function to answer yes."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now, none of which has a cluster's bus port (10,000 above) beyond the last."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = listener.getsockname()[1]
            if port < 55_000:
                ports.append(port)
        return ports


class RedisServer:
    """Runs until `stop`; `start` again makes another process of it, in the same folder."""

    def __init__(self, folder: Path, *options: str, mode: str = "", port: int = 0, priority: int = -10) -> None:
        """`priority` as of `nice`, where we may set it.

        Of a server that has no core of its own, and shares two with all other tests, an answer within the quarter of a
        second that the router waits is a matter of luck.
        """
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.port = port or free_ports(1)[0]
        self._options = options
        self._mode = mode
        self._priority = priority
        self.process: subprocess.Popen[bytes]
        self.start()

    @property
    def url(self) -> str:
        return f"redis+unix://{self.socket}"

    def start(self, *more: str) -> None:
        """With further options; those of the last word win."""
        command = [find("redis")]
        if self._mode == "sentinel":
            command += [str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            # A primary waits some seconds for more replicas before it sends the first one what it has.
            command += ["--save", "", "--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "redis.log"), *self._options, *more]
        self.process = subprocess.Popen(command)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self.process.pid, self._priority)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "redis.log").read_text()[-2000:]
        with contextlib.closing(self.client()) as client:
            try:
                client.ping()
            except redis.exceptions.AuthenticationError:
                return True
            except redis.exceptions.ConnectionError:
                return False
            return True

    def client(self, **options: object) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.socket), **options)  # type: ignore[arg-type] # passed on

    def tell(self, *words: object) -> object:
        """One command, over a connection that is closed again."""
        with contextlib.closing(self.client()) as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call] # so it is

    def fact(self, section: str, name: str) -> object:
        """What INFO says."""
        found = self.tell("INFO", section)
        assert isinstance(found, dict)
        return found[name]

    def empty(self) -> None:
        self.tell("FLUSHALL")

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """As an administrator does: what is to be saved is saved."""
        self.thaw()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:  # it cannot save, and so does not want to go
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def windows_on(server: RedisServer, clock: Clock) -> SingleStorage:
    """The storage of `limits` on a server that is emptied for it, with a clock of a test."""
    server.empty()
    storage = storage_from_string(server.url)
    assert isinstance(storage, SingleStorage)
    storage.clock = clock
    return storage


class TlsServer(RedisServer):
    """One that listens with TLS as well, for whoever goes by its own certificate and calls it localhost."""

    def __init__(self, folder: Path, *options: str) -> None:
        key, self.certificate = self_signed(folder)
        self.tls_port = free_ports(1)[0]
        files = ("--tls-key-file", str(key), "--tls-cert-file", str(self.certificate))
        authority = ("--tls-ca-cert-file", str(self.certificate), "--tls-auth-clients", "no")
        super().__init__(folder, "--tls-port", str(self.tls_port), *files, *authority, *options)

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.tls_port}/0?ssl_ca_certs={self.certificate}"


class RedisCluster:
    """Three primaries, without replicas."""

    def __init__(self, folder: Path) -> None:
        self.servers: list[RedisServer] = []
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        for number, port in enumerate(free_ports(3)):
            (folder / str(number)).mkdir()
            self.servers.append(RedisServer(folder / str(number), *options, port=port))
        bounds = [0, 5461, 10922, 16384]
        for number, server in enumerate(self.servers):
            server.tell("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            server.tell("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            server.tell("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port)
        until(lambda: all(self._is_whole(server) for server in self.servers), 20)

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @staticmethod
    def _is_whole(server: RedisServer) -> bool:
        told = server.tell("CLUSTER", "INFO")
        assert isinstance(told, bytes)
        return b"cluster_state:ok" in told and b"cluster_known_nodes:3" in told

    def empty(self) -> None:
        for server in self.servers:
            server.empty()

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class RedisSentinel:
    """A primary with a replica, and one Sentinel that knows them as "counters"."""

    def __init__(self, folder: Path) -> None:
        for name in ("primary", "replica"):
            (folder / name).mkdir()
        self.primary = RedisServer(folder / "primary")
        self.replica = RedisServer(folder / "replica", "--replicaof", "127.0.0.1", str(self.primary.port))
        config = f"sentinel monitor counters 127.0.0.1 {self.primary.port} 1\n"
        (folder / "sentinel.conf").write_text(config)
        self.sentinel = RedisServer(folder, mode="sentinel")
        self.url = f"redis+sentinel://127.0.0.1:{self.sentinel.port}/counters"

    def fail_over(self) -> None:
        """Let the replica be the primary, and wait until it is."""
        until(lambda: self.replica.fact("replication", "master_link_status") == "up")
        # A Sentinel asks who the replicas are every ten seconds, and how they are.
        until(self._agreed_to_fail_over, 40)
        until(lambda: self.replica.fact("replication", "role") == "master", 40)
        until(lambda: self.primary.fact("replication", "role") == "slave", 40)
        self.primary, self.replica = self.replica, self.primary

    def _agreed_to_fail_over(self) -> bool:
        try:
            self.sentinel.tell("SENTINEL", "FAILOVER", "counters")
        except redis.exceptions.ResponseError:
            return False  # it has not met the replica yet
        return True

    def empty(self) -> None:
        self.primary.empty()

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.primary):
            server.stop()


class Wire:
    """Listens on TCP and leads to a server's socket. `target` may be changed for connections to come.

    `cut_answers`: so many answers are read and not delivered; the connection is cut in the place of each.
    `delay_seconds`: what each answer takes longer.
    `said`: where the server says the first, the second is delivered, which must be as long.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.cut_answers = 0
        self.delay_seconds = 0.0
        self.said = b"", b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Every connection that there is."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self.target))
                except OSError:  # nobody is there now
                    server.close()
                    client.close()
                    continue
                self._ends += (client, server)
                threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError), source:
            while data := source.recv(65_536):
                if answers and self.cut_answers > 0:
                    self.cut_answers -= 1
                    break
                if answers and self.delay_seconds:
                    time.sleep(self.delay_seconds)
                sink.sendall(data.replace(*self.said) if answers and self.said[0] else data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
