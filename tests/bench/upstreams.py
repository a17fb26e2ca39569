"""nginx as provider with a fixed answer, plain and over TLS, and as the plain proxy that the router is compared with."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from harness import eventually, free_port

CHAT = "/v1/chat/completions"
ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1795487583,"model":"gpt-4o-mini","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Once upon a time there was a router."},"finish_reason":"stop"}],'
    '"service_tier":"default","usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'
)
USUAL, TINY = ANSWER % (30, 20, 50), ANSWER % (1, 1, 2)


class Nginx:
    """A running nginx. `chat` with `?tiny=1` is answered with the smallest usage there can be."""

    def __init__(self, program: str, folder: Path) -> None:
        plain, tls, proxy, status = (free_port() for _ in range(4))
        self.url, self.tls_url, self.proxy_url = (
            f"http://127.0.0.1:{plain}",
            f"https://127.0.0.1:{tls}",
            f"http://127.0.0.1:{proxy}",
        )
        self._status_url = f"http://127.0.0.1:{status}/"
        self.ca_file = folder / "ca.pem"
        _certificate(self.ca_file, folder / "key.pem")
        temporary = " ".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        answers = f"default_type application/json; location / {{ if ($arg_tiny) {{ return 200 '{TINY}'; }} return 200 '{USUAL}'; }}"
        (folder / "nginx.conf").write_text(
            f"""
            worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/errors;
            events {{ worker_connections 4096; }}
            http {{
                access_log off; keepalive_requests 100000000; {temporary}
                upstream fixed {{ server 127.0.0.1:{plain}; keepalive 64; keepalive_requests 100000000; }}
                server {{ listen 127.0.0.1:{plain}; {answers} }}
                server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {self.ca_file}; ssl_certificate_key {folder}/key.pem; {answers} }}
                server {{ listen 127.0.0.1:{proxy}; location / {{
                    proxy_pass http://fixed; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
                server {{ listen 127.0.0.1:{status}; keepalive_timeout 0; location / {{ stub_status; }} }}
            }}
            """
        )  # fmt: skip
        self.process = subprocess.Popen([program, "-e", f"{folder}/errors", "-c", f"{folder}/nginx.conf"])
        eventually(self._answers, 10, "an answer from nginx")

    def requests_seen(self) -> int:
        """Requests that this nginx has read, in all its roles, without those that ask for this number."""
        text = requests.get(self._status_url, timeout=10).text
        found = re.search(r"requests\s+\d+ \d+ (\d+)", text)
        assert found is not None, text
        self._asked += 1
        return int(found[1]) - self._asked

    _asked = 0

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.post(self.proxy_url + CHAT, json={}, timeout=2).status_code == 200
        return False


@contextlib.contextmanager
def stream_server(log: Path) -> Iterator[str]:
    """The address of a provider of event streams."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).parent / "stream_server.py"), str(port)]
    with (
        log.open("a") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", log.read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _certificate(certificate_file: Path, key_file: Path) -> None:
    """A certificate for 127.0.0.1 that signs itself, so that it is its own authority."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    key_file.chmod(0o600)
