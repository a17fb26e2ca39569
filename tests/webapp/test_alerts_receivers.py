"""One attempt, to a receiver of any kind: where it may lead, how long it may take, and what is told of it."""

import socket
import ssl
from email.message import EmailMessage
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from receivers_kit import mail_server, webhook_receiver

from shared.addresses import is_public, may_be_reached, parse
from shared.config.mail import MailServer
from webapp.alerting import mail
from webapp.alerting.post import post

LOCAL = [ip_network("127.0.0.0/8")]
NAME = "hooks.example.com"


def letter() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "router@example.com", "ops@example.com", "A test"
    message.set_content("It works.\n")
    return message


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The resolver knows one more name, which leads to this machine; who was asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == NAME else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


def test_it_works(named: list[str]) -> None:
    """By a name: looked up once, judged by its address, and asked for under its name."""
    with webhook_receiver() as receiver:
        url = receiver.url.replace("127.0.0.1", NAME)
        assert post(url, {"webhook-id": "dlv_1"}, b"{}", LOCAL).status == 204
        (received,) = receiver.received
    assert named == [NAME]
    assert received.headers["host"].startswith(NAME)
    assert received.headers["content-type"] == "application/json"


def test_a_name_that_leads_into_the_private_network_is_refused(named: list[str]) -> None:
    """The address is judged that is connected to, so nothing is gained by a name that changes."""
    with webhook_receiver() as receiver:
        for host in (NAME, "127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"):
            result = post(receiver.url.replace("127.0.0.1", host), {}, b"{}", [])
            assert not result.ok
            assert result.error == "It leads to an address that is not public, and that is not allowed here.", host
        assert receiver.received == []
    assert named.count(NAME) == 1


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "224.0.0.1", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "2002:0a00:0001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
        "168.63.129.16", "192.88.99.1", "3fff::1", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "2002:a83f:8110::1",
    ],
)  # fmt: skip
def test_what_is_not_public(text: str) -> None:
    address = parse(text)
    assert address is not None
    assert not may_be_reached(address, [])
    assert may_be_reached(address, [ip_network(address)])


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "168.63.129.17"]
)
def test_what_is_public(text: str) -> None:
    address = parse(text)
    assert address is not None
    assert is_public(address)


def test_a_receiver_that_drips_is_cut_off() -> None:
    """A byte now and then keeps each wait short; what has an end is the whole attempt."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        result = post(url, {}, b"{}", LOCAL, wait_seconds=30, whole_seconds=0.1)
    assert result.error == "It did not answer within 0.1 seconds."


def test_why_a_receiver_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/secret-path", {}, b"{}", LOCAL).error == (
        "It cannot be reached: connection refused."
    )
    with webhook_receiver() as receiver:
        told = post(receiver.url.replace("http", "https"), {}, b"{}", LOCAL).error or ""
    assert told.startswith("No safe connection")


@pytest.mark.parametrize("scheme", ["tls", "starttls"])
def test_mail_goes_by_tls_to_whom_this_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: Any
) -> None:
    key, certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    options = {"ssl_context": context} if scheme == "tls" else {"tls_context": context, "require_starttls": True}
    with mail_server(**options) as box:
        server = MailServer("localhost", box.port, scheme)
        refused = mail.send(server, letter(), wait_seconds=5)
        assert "not trusted" in (refused.error or "")
        assert box.messages == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert mail.send(server, letter(), wait_seconds=5).ok
        assert box.text() == "It works.\n"


def test_no_password_is_sent_in_clear() -> None:
    with mail_server() as box:
        result = mail.send(MailServer("127.0.0.1", box.port, "starttls", "me", "a secret"), letter(), wait_seconds=5)
        assert result.error == "The mail server cannot do what is needed: TLS (STARTTLS) or a login."
        assert box.messages == []


def test_a_mail_server_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        silent = mail.send(MailServer("127.0.0.1", port, "none"), letter(), wait_seconds=0.1)
    assert silent.error == "The mail server ended the connection, or did not answer in time."
    away = mail.send(MailServer("127.0.0.1", port, "none"), letter())
    assert away.error == "The mail server cannot be reached: connection refused."
