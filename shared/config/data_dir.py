"""The data directory: whether it is fit to hold our secrets and locks, and the secrets that are made there once."""

import contextlib
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.config.sqlite_files import counter_files, database_files
from shared.config.values import SettingError, shown

_MOUNTS = Path("/proc/self/mountinfo")
# As the kernel names them. 9p and virtiofs are not among them: there they are how a container or a virtual machine sees
# the disk of its own host.
_NETWORK_FILE_SYSTEMS = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|coda|ceph|lustre|gpfs|beegfs|ocfs2|gfs2|davfs"
    r"|fuse\.(?:sshfs|glusterfs|ceph|s3fs|rclone|gcsfuse|goofys|blobfuse2?|davfs2?|mount-s3|juicefs|smbnetfs|curlftpfs)"
)
_OUR_FILES = ("router.db", "counters.db", "journals", "bootstrap.lock", "secret_key", "encryption_key")
_FURTHER_FILES = (
    "accounting.page", "alerts.lock", "format", "ledger_writer.lock", "machine_id", "metrics", "refusals", "sandbox",
)  # fmt: skip
_BESIDE = (path.name for path in database_files(Path("router.db")) | counter_files(Path("counters.db")))
_OURS = frozenset((*_OUR_FILES, *_FURTHER_FILES, *_BESIDE))


def data_directory(name: str, text: str) -> Path:
    """The directory of that name as an absolute path; made (0700) when there is none.

    One that is there keeps its mode, because others may use it too: it is refused when they could change what is in it.
    """
    try:
        path = Path(text).expanduser().absolute()
        refuse_network(name, path)
        if not _make(path):
            _judge(name, path)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~nobody has no home
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "that user has no home directory"
        raise SettingError(f"{name}: {shown(text)} cannot be used: {reason.lower()}.") from None
    if "?" in str(path):
        raise SettingError(f"{name} must hold no question mark: in the address of a database it begins the options.")
    return path


def _make(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return False
    path.chmod(0o700)  # whatever the umask took away
    return True


def _judge(name: str, path: Path) -> None:
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise SettingError(f"{name}: {path} is not a directory.")
    refuse_shared(name, path)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise SettingError(f"{name}: {path} cannot be read and written (mode {stat.S_IMODE(found.st_mode):04o}).")
    for entry in sorted(path.iterdir()):
        # Typically from a first start as root.
        if entry.name.startswith(_OUR_FILES) and not os.access(entry, os.R_OK | os.W_OK):
            raise SettingError(
                f"{name}: {entry} cannot be read and written; it belongs to {_user(entry.lstat().st_uid)}. Give it to "
                f"{_user(os.geteuid())}, with all that is in {path}."
            )


def refuse_shared(name: str, path: Path) -> None:
    """Raise SettingError when others could put files of their own into a directory, in the place of ours."""
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise SettingError(
            f"{name}: {path} belongs to {_user(found.st_uid)}, and this is {_user(os.geteuid())}. Start the router as "
            "its owner, change the owner, or name a directory of the router's own."
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingError(
            f"{name}: others may write into {path} (mode {stat.S_IMODE(found.st_mode):04o}). Name a directory of the "
            f"router's own, or make this one private: chmod 700 {path}"
        )


def is_sticky(folder: Path) -> bool:
    """Whether nobody but root, and us, can take the place of a file of ours there, whoever may write: as in /tmp."""
    found = folder.stat()
    return bool(found.st_mode & stat.S_ISVTX) and found.st_uid in (0, os.geteuid())


def refuse_of_others(name: str, paths: Iterable[Path]) -> None:
    """Raise SettingError when somebody else has put a file, or a link, where one of ours would be."""
    for path in sorted(paths):
        with contextlib.suppress(FileNotFoundError):
            if (owner := path.lstat().st_uid) != os.geteuid():
                raise SettingError(
                    f"{name}: {path} belongs to {_user(owner)}, and this is {_user(os.geteuid())}. Name a file of the "
                    "router's own, best in a directory of its own."
                )


def is_ours(path: Path, data_dir: Path) -> bool:
    """Whether the router keeps something of its own there, or in a folder above it, however the path is spelled."""
    place, home = path.resolve(), data_dir.resolve()
    if not place.is_relative_to(home) or place == home:
        return False
    return place.relative_to(home).parts[0] in _OURS


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def refuse_network(name: str, path: Path) -> None:
    """Raise SettingError when `path` lies, or would lie, on a network file system."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # no Linux, or /proc is not mounted: then there is nothing to judge by
    if (kind := network_file_system(path.resolve(), mounts)) is not None:
        raise SettingError(
            f"{name}: {path} lies on a network file system ({kind}). File locks decide there which process is alive, "
            "and across machines they are not to be relied on. Name a directory on a local disk."
        )


def network_file_system(path: Path, mounts: str) -> str | None:
    """The type of file system that holds `path`, if it is one of a network. `mounts` is a mountinfo (proc(5))."""
    holder, kind = Path(), ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # A later mount at the same place lies on top.
        if path.is_relative_to(point) and len(point.parts) >= len(holder.parts):
            holder, kind = point, types[0]
    return kind if _NETWORK_FILE_SYSTEMS.fullmatch(kind) else None


def made_once(name: str, path: Path, make: Callable[[], str]) -> str:
    """The secret in `path`, made by the first process that asks; the link makes two racing starts agree."""
    try:
        if not path.exists():
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            try:
                fresh.touch(mode=0o600)
                fresh.write_text(make(), encoding="ascii")
                with contextlib.suppress(FileExistsError):
                    os.link(fresh, path)
            finally:
                fresh.unlink(missing_ok=True)
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingError(f"{name} is kept in {path}, which fails: {(error.strerror or '').lower()}.") from None
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise SettingError(f"{name} is kept in {path}, which is empty or damaged. Restore it from a backup.")
    return text
