"""What the architecture test looks for, as functions over a source tree: each answers with its complaints.

`tests/test_architecture.py` runs them on this project, where they must find nothing, and on small trees that are broken.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("shared", "proxyd", "webapp")
SOFT_LINES, HARD_LINES, FUNCTION_LINES, ENTRY_LINES = 300, 400, 60, 20

# Layers of the data plane by a module's first words: it may import lower ones and its own, not others of its line.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("app", "cli", "writer", "ledger_import", "__main__"),
    ("pool",),
    ("worker", "writer_process"),
    ("server", "readiness", "monitoring"),
    ("websocket",),
    ("gateway",),
    ("bodies",),
    ("translation",),
    ("accounting", "credential_reports", "key_cache", "providers", "upstream"),
    ("busy_poll", "known_key", "outbox", "watchdog"),
    ("channel", "credentials", "custom_providers", "hub", "offload", "wire"),
    ("messages",),
)
# The same for the dashboard, below what serves HTTP; it imports nothing of webapp that stands above it.
DASHBOARD_LAYERS: tuple[tuple[str, ...], ...] = (
    ("alerting",),
    ("actions", "queries"),
    ("views", "validation"),
    ("schemas",),
    ("context", "db"),
    ("passwords", "events", "oidc"),
    ("offload", "provider_test", "oidc_claims"),
    ("outbound",),
)
# Only these may hold sockets, each with its reason.
SOCKET_FILES = {
    "proxyd/server": "inbound connections",
    "proxyd/upstream": "outbound connections",
    "proxyd/monitoring/endpoint": "answers whoever scrapes metrics, in the ledger writer's process",
    **{f"proxyd/sandbox/{name}": "the built-in provider is a server of its own" for name in ("server", "sessions")},
    **{f"webapp/{name}": "where people said, by addresses that are judged" for name in ("outbound", "alerting/mail")},
    "webapp/serving": "the deadlines on connections to the dashboard",
    "webapp/supervisor": "asks whether a port is free before anything is started on it",
}
COOPERATIVE_FILE = "webapp/serving.py"  # all else of the dashboard is plain Python, made cooperative
SOCKET_MODULES = {"socket", "ssl", "socketserver", "asyncio", "selectors", "http.client", "http.server"}
SOCKET_MODULES |= {"urllib.request", "gevent.socket", "gevent.ssl", "gevent.server", "gevent.baseserver"}
FOREIGN_TO_SHARED = {"flask", "gevent", "werkzeug", "gunicorn", "requests", *SOCKET_MODULES}
BAD_NAMES = re.compile(r"(?:utils?|helpers?|misc|common|.*_v\d+)\.py")
SQL = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|WITH|REPLACE)\s", re.IGNORECASE)


@dataclass(frozen=True)
class Module:
    """One source file."""

    path: str  # below the root, with slashes
    text: str

    @property
    def name(self) -> str:
        parts = self.path.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def imports(self) -> tuple[tuple[str, int], ...]:
        """Everything imported, as dotted names with their lines, wherever in the file it stands."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
        return tuple(found)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        return f"{package}.{node.module}" if node.module else package


def read(root: Path) -> list[Module]:
    """All modules of the three packages and wsgi.py below `root`."""
    files = [*root.glob("wsgi.py"), *(path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))]
    return [Module(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in files]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _any_within(name: str, packages: set[str]) -> bool:
    return any(_within(name, package) for package in packages)


def directions(modules: list[Module]) -> Iterator[str]:
    """Between the packages: webapp -> shared <- proxyd, and shared stays free of frameworks and sockets."""
    forbidden = {
        "shared": {"webapp", "proxyd", *FOREIGN_TO_SHARED},
        "webapp": {"proxyd", "gevent"},
        "proxyd": {"webapp", "flask", "requests"},
    }
    for module in modules:
        banned = forbidden.get(module.name.partition(".")[0], set())
        if module.path == COOPERATIVE_FILE:
            banned = banned - {"gevent"}
        for imported, line in module.imports:
            if _any_within(imported, banned):
                yield f"{module.path}:{line} imports {imported}"


def _layer(name: str, layers: tuple[tuple[str, ...], ...]) -> tuple[int, str] | None:
    part = name.split(".")[1]
    for rank, starts in enumerate(layers):
        for start in starts:
            if part == start:
                return rank, start
    return None


def layers(modules: list[Module]) -> Iterator[str]:
    """Within proxyd: downwards only, siblings do not know each other, nobody but the gateway charges counters."""
    for module in modules:
        if not module.name.startswith("proxyd.") or _within(module.name, "proxyd.sandbox"):
            continue
        own = _layer(module.name, LAYERS)
        if own is None:
            yield f"{module.path} stands in no layer: give it one in tests/architecture.py"
            continue
        for imported, line in module.imports:
            if _within(imported, "shared.counters") and own[1] not in ("accounting", "app", "gateway", "writer"):
                yield f"{module.path}:{line} imports {imported}"
            if not imported.startswith("proxyd."):
                continue
            other = _layer(imported, LAYERS)
            if other is None or other[0] < own[0] or (other[0] == own[0] and other[1] != own[1] and own[0] > 0):
                yield f"{module.path}:{line} imports {imported}"


def dashboard(modules: list[Module]) -> Iterator[str]:
    """Within webapp: actions and queries do not know each other, nor what serves HTTP; both stand on views."""
    for module in modules:
        own = _layer(module.name, DASHBOARD_LAYERS) if module.name.startswith("webapp.") else None
        if own is None:
            continue
        for imported, line in module.imports:
            if not imported.startswith("webapp."):
                continue
            other = _layer(imported, DASHBOARD_LAYERS)
            if other is None or other[0] < own[0] or (other[0] == own[0] and other[1] != own[1]):
                yield f"{module.path}:{line} imports {imported}"


def sandbox(modules: list[Module]) -> Iterator[str]:
    """The sandbox is a provider, not a part of us: it imports nothing of ours, and nothing of ours imports it."""
    for module in modules:
        inside = _within(module.name, "proxyd.sandbox")
        for imported, line in module.imports:
            into = _within(imported, "proxyd.sandbox")
            if (into and not inside) or (inside and not into and _any_within(imported, set(PACKAGES))):
                yield f"{module.path}:{line} imports {imported}"


def limits_at_home(modules: list[Module]) -> Iterator[str]:
    """`limits` has traps, so only shared/counters knows it."""
    for module in modules:
        for imported, line in module.imports:
            if _within(imported, "limits") and not _within(module.name, "shared.counters"):
                yield f"{module.path}:{line} imports {imported}"


def sockets(modules: list[Module]) -> Iterator[str]:
    """Sockets stay in the files that are made for them."""
    for module in modules:
        stem = module.path.removesuffix(".py")
        if any(stem == home or stem.startswith(f"{home}/") for home in SOCKET_FILES):
            continue
        for imported, line in module.imports:
            if _any_within(imported, SOCKET_MODULES):
                yield f"{module.path}:{line} imports {imported}"


def cycles(modules: list[Module]) -> Iterator[str]:
    """No module imports itself by way of others. Imports inside functions count."""
    names = {module.name for module in modules}
    graph = {module.name: _known(module, names) for module in modules}
    state: dict[str, int] = {}

    def visit(name: str, way: tuple[str, ...]) -> Iterator[str]:
        state[name] = 1
        for other in sorted(graph[name]):
            if state.get(other) == 1:
                yield " -> ".join((*way[way.index(other) :], other))
            elif other not in state:
                yield from visit(other, (*way, other))
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            yield from visit(name, (name,))


def _known(module: Module, names: set[str]) -> set[str]:
    found = set()
    for imported, _ in module.imports:
        target = imported if imported in names else imported.rpartition(".")[0]
        if target in names and target != module.name:
            found.add(target)
    return found


def file_lengths(files: dict[str, int], excused: dict[str, str]) -> Iterator[str]:
    """Files of at most 300 lines, or 400 with a reason in `excused`; an excuse that is not needed goes."""
    for path, lines in files.items():
        if lines > (HARD_LINES if path in excused else SOFT_LINES):
            yield f"{path} has {lines} lines"
    for path in excused:
        if files.get(path, 0) <= SOFT_LINES:
            yield f"{path} needs no excuse"


def function_lengths(modules: list[Module]) -> Iterator[str]:
    """Functions of at most 60 lines, decorators not counted."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield f"{module.path}:{node.lineno} {node.name} has {lines} lines"


def sql_from_pieces(modules: list[Module]) -> Iterator[str]:
    """SQL is never put together with values. A line marked S608 says why its pieces are constants."""
    for module in modules:
        lines = module.text.splitlines()
        for node in ast.walk(module.tree):
            if _is_pieced_sql(node) and "noqa: S608" not in lines[getattr(node, "lineno", 1) - 1]:
                yield f"{module.path}:{getattr(node, 'lineno', 0)} puts SQL together"


def _is_pieced_sql(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        first = node.values[0] if node.values else None
        pieced = any(isinstance(value, ast.FormattedValue) for value in node.values)
        return pieced and isinstance(first, ast.Constant) and bool(SQL.match(str(first.value)))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        left = node.left
        return isinstance(left, ast.Constant) and isinstance(left.value, str) and bool(SQL.match(left.value))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        value = node.func.value
        return isinstance(value, ast.Constant) and isinstance(value.value, str) and bool(SQL.match(value.value))
    return False


def names(modules: list[Module]) -> Iterator[str]:
    """No file whose name says nothing, and none that stands beside its own next version."""
    for module in modules:
        if BAD_NAMES.fullmatch(module.path.rpartition("/")[2]):
            yield f"{module.path} has a name that says nothing"


def entries(modules: list[Module]) -> Iterator[str]:
    """wsgi.py and __main__.py are too small to test, and each package says its law."""
    for module in modules:
        file = module.path.rpartition("/")[2]
        if file in ("wsgi.py", "__main__.py") and len(module.text.splitlines()) > ENTRY_LINES:
            yield f"{module.path} is more than a way in"
        if file == "__init__.py" and not ast.get_docstring(module.tree):
            yield f"{module.path} does not say what its package is for"


Check = Callable[[list[Module]], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    directions,
    layers,
    dashboard,
    sandbox,
    limits_at_home,
    sockets,
    cycles,
    function_lengths,
    sql_from_pieces,
    names,
    entries,
)
