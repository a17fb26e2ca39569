"""What keeps a server from holding the counters: asked once, before anything is started on it."""

from typing import Any
from urllib.parse import urlsplit

import redis
from limits.errors import ConfigurationError
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from shared.counters.redis import script
from shared.counters.redis.link import open_storage
from shared.counters.redis.url import SEVERAL
from shared.probe import Finding

# Older servers pass scripts on to their replicas and keep them with the data. There a server that was restarted with
# old data, or took over from another, knows our script, and would not be told from the one we left.
OLDEST = (7, 0)
# One of several servers that is silent must not use up the time in which another answers.
_EACH_SECONDS = 2.0
# A server without TLS waits for the end of what it takes for a command, and the client for the handshake's answer. What
# is left of the ten seconds is for finding that out.
_TLS_SECONDS = 5.0
_OTHER_WAY = {"redis": "rediss", "rediss": "redis"}
# When a server finds no certificate of the client's, its alert may come before or after what was asked.
_ENDED = "it ends the connection; with TLS perhaps because it wants a certificate: ssl_certfile and ssl_keyfile"
# By name, because sockets have homes of their own in this house.
_BY_SYSTEM = {
    "gaierror": "its host is not known",
    "ConnectionRefusedError": "the connection is refused; is it running there?",
    "FileNotFoundError": "a file that the URL names is not there",
    "TimeoutError": "it does not answer in time",
    "SSLCertVerificationError": "its certificate cannot be trusted",
    "SSLEOFError": _ENDED,
    "ConnectionResetError": _ENDED,
    "BrokenPipeError": _ENDED,
    "SSLError": "it does not speak TLS, or not as we do",
}
_TRIAL = "return #cmsgpack.pack({redis.call('EXISTS', KEYS[1])})"


def finding_of(url: str) -> Finding:
    """What is found there, in a few words and without anything of the URL.

    Waits for a single server as long as it takes: whoever asks has an alarm clock.
    """
    scheme = url.partition("://")[0]
    patience = _EACH_SECONDS if scheme in SEVERAL else _TLS_SECONDS if scheme == "rediss" else None
    try:
        client: Any = open_storage(url, socket_timeout=patience, socket_connect_timeout=patience).get_connection()
        if scheme == "redis+cluster":
            client = client.get_redis_connection(client.get_node_from_key(script.META))
        facts = client.info()  # all of it: old servers, which are to be told so, do not take several sections
        return Finding(_problem_with(client, facts, several=scheme == "redis+cluster"), _advice_on(facts))
    except (RedisError, RedisClusterException, ConfigurationError, OSError, ValueError) as error:
        if not isinstance(error, ResponseError) and _answers(url, _OTHER_WAY.get(scheme)):
            return Finding(f"its URL begins with {_OTHER_WAY[scheme]}://: it answers {_HOW[scheme]}")
        return Finding(_reason(error))


_HOW = {"redis": "with TLS only", "rediss": "without TLS"}


def _problem_with(client: Any, facts: dict[str, Any], *, several: bool) -> str | None:
    mode = facts.get("redis_mode") or facts.get("server_mode")  # the latter of Valkey
    if mode == "cluster" and not several:
        return "it is one of a cluster, whose URL begins with redis+cluster://"
    if mode == "sentinel":
        return "it is a Sentinel, whose URL begins with redis+sentinel://"
    version = str(facts.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        return f"it is version {version}, and needs to be {'.'.join(map(str, OLDEST))} or newer"
    if facts.get("role") != "master":
        return "it is a replica, which cannot be written to; name the primary"
    # Also while no maxmemory is set: that is one command away, and then spending would be forgotten without a word.
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return f"its maxmemory-policy is {policy}, so it may forget what was spent; set it to noeviction"
    client.eval(_TRIAL, 1, script.META)
    found = client.hget(script.META, "format")
    if found is not None and not (found.isdigit() and int(found) <= script.FORMAT):
        return "it holds counters of a newer release"
    return None


def _advice_on(facts: dict[str, Any]) -> str | None:
    """What may go wrong one day. INFO tells of good replicas only where a least number of them is set."""
    if facts.get("connected_slaves", 0) and "min_slaves_good_slaves" not in facts:
        return (
            "it has replicas, and min-replicas-to-write is 0: a primary that is cut off from them goes on admitting "
            "while another takes over; set it to 1"
        )
    return None


def _answers(url: str, scheme: str | None) -> bool:
    """Whether a server answers there in this other way, asked without user and password."""
    if scheme is None:
        return False
    parts = urlsplit(url)
    tls: dict[str, Any] = {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False, "client_name": "probe"}
    client = redis.Redis(
        parts.hostname or "",
        parts.port or 6379,
        socket_timeout=_EACH_SECONDS,
        socket_connect_timeout=_EACH_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
        **(tls if scheme == "rediss" else {}),
    )
    try:
        client.ping()
    except (ResponseError, AuthenticationError):
        return True
    except (RedisError, OSError):
        return False
    finally:
        client.close()
    return True


def _reason(error: BaseException) -> str:
    """By what was raised, not by what it says, in which a password may stand."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    for one in chain:
        if (told := _told(one)) is not None:
            return told
    return f"the attempt failed ({type(error).__name__})"


def _told(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, AuthenticationError):
        if "without any password" in text:
            return "it has no password, but the URL does"
        return "it wants a password" if "required" in text else "the user or the password is wrong"
    if isinstance(error, NoPermissionError):
        return "the user may not run what the counters need: INFO, scripts and the keys they use"
    if isinstance(error, MasterNotFoundError):
        # What follows the name are the Sentinels that could not be asked.
        return "no Sentinel answers" if " : <" in text else "its Sentinels know no primary of that name that is up"
    if isinstance(error, RedisClusterException):
        mode = "ot enabled on this node" in text
        return "it is no cluster: the URL of a single server begins with redis://" if mode else None
    if isinstance(error, ResponseError):
        if "DB index is out of range" in text:
            return "it has no database of that number"
        if "unknown command 'SENTINEL'" in text:
            return "it is no Sentinel: the URL of a single server begins with redis://"
        return f"it refuses ({text.partition(' ')[0]})" if text.partition(" ")[0].isupper() else "it refuses"
    return _told_by_system(error)


def _told_by_system(error: BaseException) -> str | None:
    names = [kind.__name__ for kind in type(error).__mro__]
    told = next((_BY_SYSTEM[name] for name in names if name in _BY_SYSTEM), None)
    if "SSLCertVerificationError" in names:
        told = f"{told} ({str(getattr(error, 'verify_message', '')).rstrip('.').lower()})"
    elif "CERTIFICATE_REQUIRED" in str(getattr(error, "reason", "")):
        told = _ENDED
    if told is None and isinstance(error, OSError) and error.strerror:
        told = error.strerror.lower()
    return told
