"""What `make run` says once everything answers."""

import json
import textwrap

from shared.config import Bind, Settings
from webapp.bootstrap import BootstrapReport
from webapp.views.providers import lost_words

# One model a provider for the printed request, cheap and long-lived.
_MODELS = {"openai": "gpt-4o-mini", "anthropic": "anthropic/claude-haiku-4-5", "gemini": "gemini/gemini-2.5-flash"}
SANDBOX_WORDS = (
    "No provider credential is set, so the built-in sandbox provider answers for OpenAI, Anthropic and Gemini: echoes, "
    "not intelligence. Set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY and start again to use the real ones."
)


def welcome(settings: Settings, report: BootstrapReport, sandbox: Bind | None) -> str:
    """Addresses, login, key and a request that works. Secrets stand in it only when they were made just now."""
    lines = [
        "",
        "Enterprise Router is running.",
        "",
        f"  Dashboard   {_dashboard(settings)}",
        f"  Proxy       {_proxy(settings)}",
    ]
    if sandbox is not None:
        lines += [f"  Sandbox     {sandbox.url}"]
    lines += ["", f"  Login       {report.admin_email}", f"  Password    {_password(report)}"]
    if report.management_token is not None:
        lines.append(f"  API token   {report.management_token}  (shown this once)")
    if report.lost_credentials:
        lines += ["", *textwrap.wrap(lost_words(report.lost_credentials), 100), ""]
    lines += [f"  Proxy key   {_key(settings, report)}", ""]
    if sandbox is not None:
        lines += [*textwrap.wrap(SANDBOX_WORDS, 100), ""]
    if report.demo_key is None:
        lines += ["Try it, with the secret of a proxy key in ROUTER_KEY:", ""]
    else:
        lines += ["Try it:", ""]
    lines += [*_curl(settings, report, sandbox), "", "Ctrl-C stops everything.", "", ""]
    return "\n".join(lines)


def made_up(report: BootstrapReport) -> str:
    """What was made up just now, for whoever is not welcomed: it cannot be had again. Empty if nothing was."""
    lines = [
        f"  {label:10}  {secret}"
        for label, secret in (
            ("Password", report.admin_password),
            ("API token", report.management_token),
            ("Proxy key", report.demo_key),
        )
        if secret is not None
    ]
    if not lines:
        return ""
    told = "The router is not running, but this was made for it, and is shown this once:"
    return "\n".join([told, "", f"  {'Login':10}  {report.admin_email}", *lines, "", ""])


def _dashboard(settings: Settings) -> str:
    return settings.dashboard_url or settings.web_bind.url


def _proxy(settings: Settings) -> str:
    return settings.public_url or settings.proxy_bind.url


def _password(report: BootstrapReport) -> str:
    if report.admin_password is not None:
        return f"{report.admin_password}  (shown this once)"
    return "as set in ROUTER_ADMIN_PASSWORD" if report.admin_created else "as at the first start"


def _key(settings: Settings, report: BootstrapReport) -> str:
    make = f"make a new one at {_dashboard(settings)}/keys"
    if report.demo_key is not None:
        return f"{report.demo_key}  (shown this once)"
    if report.demo_key_prefix is not None:
        return f"{report.demo_key_prefix}... is in place; its secret was shown when it was made; {make}"
    return f"none; {make}"


def _curl(settings: Settings, report: BootstrapReport, sandbox: Bind | None) -> list[str]:
    slug = next((slug for slug in _MODELS if sandbox is not None or slug in report.real_providers), "openai")
    body = {"model": _MODELS[slug], "messages": [{"role": "user", "content": "Hello"}]}
    return [
        f"  curl {_proxy(settings)}/v1/chat/completions \\",
        f'    -H "Authorization: Bearer {report.demo_key or "$ROUTER_KEY"}" \\',
        '    -H "Content-Type: application/json" \\',
        f"    -d '{json.dumps(body)}'",
    ]
