"""What keeps a server from holding the counters: asked once, before anything is started on it."""

from typing import Any

from limits.errors import ConfigurationError
from redis.exceptions import AuthenticationError, NoPermissionError, RedisClusterException, RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from shared.counters.redis import script
from shared.counters.redis.link import open_storage
from shared.counters.redis.url import SEVERAL

# Older servers pass scripts on to their replicas and keep them with the data. There a server that was restarted with
# old data, or took over from another, knows our script, and would not be told from the one we left.
OLDEST = (7, 0)
# One of several servers that is silent must not use up the time in which another answers.
_EACH_SECONDS = 2.0
# By name, because sockets have homes of their own in this house.
_BY_SYSTEM = {
    "gaierror": "its host is not known",
    "ConnectionRefusedError": "the connection is refused; is it running there?",
    "FileNotFoundError": "a file that the URL names is not there",
    "TimeoutError": "it does not answer in time",
    "SSLCertVerificationError": "its certificate cannot be trusted",
    "SSLError": "it does not speak TLS, or not as we do",
}
_TRIAL = "return #cmsgpack.pack({redis.call('EXISTS', KEYS[1])})"


def problem_of(url: str) -> str | None:
    """The problem in a few words, without anything of the URL; None: there is none.

    Waits for a single server as long as it takes: whoever asks has an alarm clock.
    """
    scheme = url.partition("://")[0]
    patience = _EACH_SECONDS if scheme in SEVERAL else None
    try:
        client: Any = open_storage(url, socket_timeout=patience, socket_connect_timeout=patience).get_connection()
        if scheme == "redis+cluster":
            client = client.get_redis_connection(client.get_node_from_key(script.META))
        return _problem_with(client, several=scheme == "redis+cluster")
    except (RedisError, RedisClusterException, ConfigurationError, OSError, ValueError) as error:
        return _reason(error)


def _problem_with(client: Any, *, several: bool) -> str | None:
    facts = client.info("server", "replication", "memory")
    mode = facts.get("redis_mode", "standalone")
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
        return "no Sentinel answers, or none knows a primary of that name that can be reached"
    if isinstance(error, RedisClusterException):
        mode = "ot enabled on this node" in text
        return "it is no cluster: the URL of a single server begins with redis://" if mode else None
    if isinstance(error, ResponseError):
        return f"it refuses ({text.partition(' ')[0]})" if text.partition(" ")[0].isupper() else "it refuses"
    return _told_by_system(error)


def _told_by_system(error: BaseException) -> str | None:
    names = [kind.__name__ for kind in type(error).__mro__]
    told = next((_BY_SYSTEM[name] for name in names if name in _BY_SYSTEM), None)
    if told is None and isinstance(error, OSError) and error.strerror:
        told = error.strerror.lower()
    return told
