"""`make run`: settings, schema, first start; then dashboard, proxy and, without a credential, the sandbox as children.

The launcher holds nothing itself. It says where everything is, shows what was made up just now, and waits: for a child
that ends (started again, unless it keeps ending) or for the signal to stop all of them. It never imports the proxy.
"""

import signal
import sys
from collections.abc import Mapping

from shared.config import URL_SETTINGS, Bind, SettingError, Settings
from shared.counters_probe import check_counters
from shared.database_probe import LEDGER_SETTING, check_database
from webapp.banner import made_up, welcome
from webapp.blame import blaming
from webapp.bootstrap import BootstrapReport, SchemaError, bootstrap, set_credentials
from webapp.launch_environment import (
    DASHBOARD_ONLY,
    LAUNCHER_ONLY,
    forget,
    service_environment,
    system_environment,
    without,
)
from webapp.supervisor import Child, Children, CouldNotStart, free_port_from, is_free, is_router
from webapp.views.providers import SANDBOX_FILE

SANDBOX_PORT = 8090
SANDBOX_CREDENTIAL = "sandbox-credential"
START_SECONDS = 60.0
STOP_SECONDS = 35.0  # the proxy drains for 30

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(environ: Mapping[str, str]) -> int:
    """Run until told to stop. Exit status 2 and one sentence when a setting cannot work or a port is taken."""
    report = None
    try:
        settings = _settings(environ)
        with blaming(settings):
            report = bootstrap(settings)
        sandbox = None if report.real_providers else _sandbox(settings, environ)
    except (SettingError, SchemaError, CouldNotStart) as error:
        sys.stderr.write(f"{error}\n")
        _tell_made_up(report)
        return 2
    except KeyboardInterrupt:
        _tell_made_up(report)
        return 128 + signal.SIGINT
    commands = _commands(settings, environ, sandbox)
    forget(LAUNCHER_ONLY)
    # Signals wait in line from here on, so that none comes between the start of a child and its place in the list.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    children = Children(commands, stop_signals=_STOP_SIGNALS)
    try:
        children.start(START_SECONDS)
        if not children.stopping:
            sys.stdout.write(welcome(settings, report, sandbox))
            sys.stdout.flush()
            report = None
        return children.watch()
    except CouldNotStart as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        _tell_made_up(report)
        children.stop(STOP_SECONDS)
        (settings.data_dir / SANDBOX_FILE).unlink(missing_ok=True)


def _tell_made_up(report: BootstrapReport | None) -> None:
    """Of a first start that ends before it could welcome anybody; the next one would not know it any more."""
    if report is not None:
        sys.stdout.write(made_up(report))
        sys.stdout.flush()


def _settings(environ: Mapping[str, str]) -> Settings:
    """Those that can work."""
    settings = Settings.from_env(environ)
    _check_ports(settings)
    check_database(settings)
    check_counters(settings)
    return settings


def _check_ports(settings: Settings) -> None:
    settings.refuse_together()
    wanted = {
        "ROUTER_WEB_BIND": settings.web_bind,
        "ROUTER_PROXY_BIND": settings.proxy_bind,
        "ROUTER_METRICS_BIND": settings.metrics_bind,
    }
    for name, bind in wanted.items():
        if bind is None or (problem := is_free(bind)) is None:
            continue
        if is_router(bind):
            raise CouldNotStart(
                f"{name}: {bind} cannot be used ({problem}): the router itself is running there already, or another "
                f"one. Stop it, or set {name} to another address."
            )
        raise CouldNotStart(
            f"{name}: {bind} cannot be used ({problem}). Stop what listens there, or set {name} to another address."
        )


def _sandbox(settings: Settings, environ: Mapping[str, str]) -> Bind:
    """Where the sandbox will listen. Providers whose address was set by hand keep it, and get no credential."""
    ours = [bind.port for bind in (settings.web_bind, settings.proxy_bind, settings.metrics_bind) if bind is not None]
    bind = free_port_from(Bind("127.0.0.1", SANDBOX_PORT), but=ours)
    slugs = [slug for slug, name in URL_SETTINGS.items() if not environ.get(name) and not environ.get(f"{name}_FILE")]
    set_credentials(settings, dict.fromkeys(slugs, SANDBOX_CREDENTIAL))
    # Whatever is stored for these meanwhile is used after the next start only, which the dashboard has to tell.
    path = settings.data_dir / SANDBOX_FILE
    path.touch(mode=0o600)
    path.write_text("\n".join(slugs), encoding="utf-8")
    return bind


def _commands(settings: Settings, environ: Mapping[str, str], sandbox: Bind | None) -> list[Child]:
    """The children in the order in which they start; they stop in reverse."""
    children = []
    if sandbox is not None:
        command = ["-m", "proxyd.sandbox", "--bind", str(sandbox)]
        children.append(Child("sandbox", command, f"{sandbox.url}/healthz", system_environment(environ)))
    kept = service_environment(settings, environ, sandbox)
    proxy = without(kept, *DASHBOARD_ONLY)
    children.append(Child("proxy", ["-m", "proxyd"], f"{settings.proxy_bind.url}/healthz", proxy))
    # Who cannot write the ledger need not know how to.
    staff = without(kept, LEDGER_SETTING)
    children.append(Child("dashboard", web_command(settings), f"{settings.web_bind.url}/healthz", staff, probed=True))
    return children


def web_command(settings: Settings) -> list[str]:
    """Arguments of Python that serve the dashboard, from the checkout."""
    return ["-m", "gunicorn", "--config", "webapp/serving.py", "--bind", str(settings.web_bind)]
