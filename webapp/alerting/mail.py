"""One mail, sent: a server and a message in, a `Result` out."""

import contextlib
import platform
import smtplib
import ssl
from email.message import EmailMessage

from shared.config.mail import MailServer
from shared.secret_text import masked
from webapp.alerting.post import Result

WAIT_SECONDS = 10.0  # for each answer of the server
_LONGEST_WORDS = 160


def send(server: MailServer, mail: EmailMessage, *, wait_seconds: float = WAIT_SECONDS) -> Result:
    """Hand a mail to the server once. What the server says is repeated, but for what looks like a secret."""
    try:
        connection = _connected(server, wait_seconds)
        try:
            if server.user is not None and server.password is not None:
                connection.login(server.user, server.password)
            connection.send_message(mail)
        finally:
            # However it says goodbye: what it has taken is on its way, and what it refused stays refused.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.quit()
            connection.close()
    except smtplib.SMTPAuthenticationError as error:
        return Result(ok=False, status=error.smtp_code, error=f"The mail server refuses our login ({error.smtp_code}).")
    except smtplib.SMTPRecipientsRefused as error:
        code, words = next(iter(error.recipients.values()))
        return _refused(code, words)
    except smtplib.SMTPResponseException as error:
        return _refused(error.smtp_code, error.smtp_error)
    except smtplib.SMTPServerDisconnected:
        return Result(ok=False, error="The mail server ended the connection, or did not answer in time.")
    except smtplib.SMTPException:
        return Result(ok=False, error="The mail server cannot do what is needed: TLS (STARTTLS) or a login.")
    except ssl.SSLError:
        return Result(ok=False, error="No safe connection to the mail server: its certificate is not trusted.")
    except TimeoutError:
        return Result(ok=False, error="The mail server did not answer in time.")
    except OSError as error:
        reason = (error.strerror or "no connection").lower()
        return Result(ok=False, error=f"The mail server cannot be reached: {reason}.")
    return Result(ok=True, status=250)


def _connected(server: MailServer, wait_seconds: float) -> smtplib.SMTP:
    name = platform.node() or "localhost"  # else the resolver is asked for one, which may take long
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, name, timeout=wait_seconds, context=_trusting())
    connection = smtplib.SMTP(server.host, server.port, name, timeout=wait_seconds)
    if server.security == "starttls":
        try:
            connection.starttls(context=_trusting())
        except BaseException:
            connection.close()
            raise
    return connection


def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()


def _refused(code: int, words: bytes | str) -> Result:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    shown = masked(" ".join(text.split()))[:_LONGEST_WORDS]
    shown = "".join(character for character in shown if character.isprintable())
    return Result(ok=False, status=code, error=f"The mail server refuses it ({code}): {shown}")
