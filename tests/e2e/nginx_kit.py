"""The nginx of docs/deploy.md in front of real routers: its text, with the addresses of a test and without TLS."""

import contextlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import requests
from harness import eventually, free_port
from machine import find

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"


@contextlib.contextmanager
def nginx(folder: Path, proxies: Sequence[str], dashboard: str) -> Iterator[str]:
    """Base address of the proxy's front; `proxies` and `dashboard` are base addresses too."""
    front, back = free_port(), free_port()
    (text,) = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ *ssl_.*$", "", text, flags=re.MULTILINE)
    for port in (front, back):
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};", 1)
    line = re.search(r"^ *server 127\.0\.0\.1:8080.*$", text, re.MULTILINE)
    assert line is not None
    lines = [line[0].replace("127.0.0.1:8080", url.removeprefix("http://")) for url in proxies]
    text = text.replace(line[0], "\n".join(lines))
    text = text.replace("127.0.0.1:8000", dashboard.removeprefix("http://"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"daemon off;\npid {folder}/pid;\nevents {{}}\nhttp {{ access_log off;\n{temporary}{text}}}\n")
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([find("nginx"), "-c", str(config), "-e", "stderr"], stderr=log)
    try:
        eventually(lambda: _answers(f"http://127.0.0.1:{back}/healthz"), what="nginx")
        yield f"http://127.0.0.1:{front}"
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=2).status_code == 200
    return False
