"""Every value that cannot work stops the start with one sentence that names its variable, and nothing else."""

import os
import socket
import stat
from pathlib import Path

import pytest
from nonsense_kit import NONSENSE, PASSWORD

from shared.config import SETTINGS, SettingError, Settings
from shared.config.data_dir import network_file_system


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"ROUTER_DATA_DIR": str(tmp_path / "data")}


def refusal(environ: dict[str, str], name: str) -> str:
    """The one sentence with which these settings are refused."""
    with pytest.raises(SettingError) as caught:
        Settings.from_env(environ)
    sentence = str(caught.value)
    assert sentence.startswith(name), sentence
    assert sentence.isprintable(), sentence
    assert len(sentence) < 500
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return sentence


def test_each_setting_has_its_nonsense() -> None:
    assert set(NONSENSE) == {row.name for row in SETTINGS}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, row in NONSENSE.items() for value in row])
def test_it_works(env: dict[str, str], name: str, value: str) -> None:
    sentence = refusal({**env, name: value}, name)
    assert PASSWORD not in sentence
    assert "sk-m" not in sentence.removeprefix("ROUTER_BOOTSTRAP_TOKEN must be sk-m")


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"), ("127.0.0.1:8080", "http://localhost:8080/x"), ("0.0.0.0:80", "http://localhost"),
        ("[::1]:443", "https://[::1]"), ("10.1.2.3:8080", "http://10.1.2.3:8080/openai"),
    ],
)  # fmt: skip
def test_a_provider_that_is_the_proxy_itself_is_refused(env: dict[str, str], bind: str, url: str) -> None:
    assert "ask itself" in refusal({**env, "ROUTER_PROXY_BIND": bind, "ROUTER_GEMINI_URL": url}, "ROUTER_GEMINI_URL")
    Settings.from_env({**env, "ROUTER_PROXY_BIND": bind, "ROUTER_GEMINI_URL": "http://127.0.0.1:8090"})


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_a_file_that_cannot_be_the_value_is_told(env: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / "binary").write_bytes(b"\x80\xff\x00" * 9)
    (tmp_path / "zeros").write_bytes(b"\0" * 100)
    (tmp_path / "blank").write_text("\nvalue\n")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for file in ("binary", "zeros", "blank", "empty", "pipe", "missing", "", "empty/x", "x" * 300):
        environ = {**env, f"{name}_FILE": str(tmp_path / file)}
        environ.pop(name, None)
        refusal(environ, f"{name}_FILE")
    environ = {**env, name: "x", f"{name}_FILE": str(tmp_path / "empty")}
    assert "both set" in refusal(environ, name)


def test_a_file_from_a_windows_editor_is_read(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bind").write_bytes(b"\xef\xbb\xbf127.0.0.1:9999\r\n")
    assert Settings.from_env({**env, "ROUTER_PROXY_BIND_FILE": str(tmp_path / "bind")}).proxy_bind.port == 9999


def test_what_stands_in_the_way_of_a_database_is_told(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for name in ("DATABASE_URL", "ROUTER_LIMITS_URL"):
        for file in ("dangling", "loop", "loop/x", "socket", "."):
            refusal({**env, name: f"sqlite:///{tmp_path / file}"}, name)
    same = {"DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "ROUTER_LIMITS_URL": "sqlite:///x.db"}
    assert "DATABASE_URL" in refusal({**env, **same}, "ROUTER_LIMITS_URL")


@pytest.mark.parametrize("file", ["secret_key", "encryption_key"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b" \n", None])
def test_a_damaged_secret_is_told_with_its_file(
    env: dict[str, str], tmp_path: Path, file: str, content: bytes | None
) -> None:
    Settings.from_env(env)
    path = tmp_path / "data" / file
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    name = {"secret_key": "SECRET_KEY", "encryption_key": "ROUTER_ENCRYPTION_KEY"}[file]
    assert str(path) in refusal(env, name)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702, 0o720])
def test_a_directory_that_others_may_write_is_refused_and_keeps_its_mode(
    env: dict[str, str], tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    assert f"chmod 700 {path}" in refusal(env, "ROUTER_DATA_DIR")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(path.iterdir()) == []


@pytest.mark.parametrize("name", ["DATABASE_URL", "ROUTER_LIMITS_URL"])
def test_the_folder_of_a_file_elsewhere_is_judged_as_the_directory_is(
    env: dict[str, str], tmp_path: Path, name: str
) -> None:
    """Who may write into it can put another file in its place."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere = {**env, name: f"sqlite:///{folder}/x.db"}
    for mode in (0o777, 0o770, 0o702):
        folder.chmod(mode)
        assert f"chmod 700 {folder}" in refusal(elsewhere, name)
        (tmp_path / "link.db").unlink(missing_ok=True)
        (tmp_path / "link.db").symlink_to(folder / "x.db")
        (folder / "x.db").touch()
        assert f"chmod 700 {folder}" in refusal({**env, name: f"sqlite:///{tmp_path}/link.db"}, name)
    folder.chmod(0o755)
    Settings.from_env(elsewhere)
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        assert f"{folder} belongs to nobody" in refusal(elsewhere, name)


@pytest.mark.parametrize(("name", "others"), [("DATABASE_URL", ("-wal", "")), ("ROUTER_LIMITS_URL", (".lock", ""))])
def test_a_folder_in_which_nobody_replaces_anothers_file_is_taken(
    env: dict[str, str], tmp_path: Path, name: str, others: tuple[str, ...]
) -> None:
    """As /tmp and /dev/shm are, where containers like to keep counters: but for what somebody else has put there."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    folder.chmod(0o1777)
    elsewhere = {**env, name: f"sqlite:///{folder}/x.db"}
    Settings.from_env(elsewhere)
    (folder / "x.db").touch()
    Settings.from_env(elsewhere)
    if os.geteuid() == 0:
        for end in others:
            (folder / f"x.db{end}").touch()
            os.chown(folder / f"x.db{end}", 65534, 65534)
            assert f"x.db{end} belongs to nobody, and this is root" in refusal(elsewhere, name)
            os.chown(folder / f"x.db{end}", 0, 0)
        (folder / "link.db").symlink_to(folder / "x.db")
        os.chown(folder / "link.db", 65534, 65534, follow_symlinks=False)
        assert "link.db belongs to nobody" in refusal({**env, name: f"sqlite:///{folder}/link.db"}, name)
        os.chown(folder, 65534, 65534)  # who owns the folder can replace anything in it
        assert f"{folder} belongs to nobody" in refusal(elsewhere, name)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_directory_that_was_there_keeps_its_mode(env: dict[str, str], tmp_path: Path, mode: int) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    Settings.from_env(env)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_only_the_directory_itself_is_private_not_the_ones_above(env: dict[str, str], tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        Settings.from_env({"ROUTER_DATA_DIR": str(tmp_path / "a" / "b")})
    finally:
        os.umask(mask)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")] == [0o755, 0o700]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    os.chown(tmp_path / "data", 65534, 65534)
    assert "belongs to nobody, and this is root" in refusal(env, "ROUTER_DATA_DIR")
    os.chown(tmp_path / "data", 54321, -1)
    assert "belongs to user 54321" in refusal(env, "ROUTER_DATA_DIR")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody whom modes keep out")
def test_what_modes_forbid_is_told(env: dict[str, str], tmp_path: Path) -> None:
    """In a child of its own, because the rights of this process are given up."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.name.startswith(("pytest-", "test_", "popen-")):
            directory.chmod(0o755)
    data, closed, secret = tmp_path / "data", tmp_path / "closed", tmp_path / "secret"
    for path in (data, closed):
        path.mkdir()
    secret.write_text("x")
    secret.chmod(0o600)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    os.chown(mixed, 65534, 65534)
    (mixed / "router.db").touch(0o600)
    data.chmod(0o500)
    closed.chmod(0o700)
    os.chown(data, 65534, 65534)
    cases = [
        (env, "ROUTER_DATA_DIR", "cannot be read and written"),
        ({"ROUTER_DATA_DIR": str(closed)}, "ROUTER_DATA_DIR", "belongs to root, and this is nobody"),
        ({"ROUTER_DATA_DIR": str(closed / "x" / "y")}, "ROUTER_DATA_DIR", "permission denied"),
        ({"ROUTER_DATA_DIR": str(mixed)}, "ROUTER_DATA_DIR", "it belongs to root. Give it to nobody"),
        ({**env, "SECRET_KEY_FILE": str(secret)}, "SECRET_KEY_FILE", "permission denied"),
    ]
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            for environ, name, words in cases:
                assert words in refusal(environ, name)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - this process is a copy of the test run, and must not go on as one
            os.write(2, repr(error).encode())
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /srv/nfs rw shared:7 master:2 - nfs4 server:/x rw
41 40 0:41 / /srv/nfs/disk rw - ext4 /dev/vdb rw
42 27 0:42 / /mnt/with\\040space rw - cifs //server/x rw
43 27 0:43 / /mnt/home rw - fuse.sshfs me@host: rw
44 27 0:44 / /mnt/over rw - nfs server:/y rw
45 44 0:45 / /mnt/over rw - xfs /dev/vdc rw
46 27 0:46 / /mnt/under rw - xfs /dev/vdd rw
47 46 0:47 / /mnt/under rw - smb3 //server/y rw
48 27 0:48 / /mnt/host rw - 9p host rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/router", None), ("/srv/nfs", "nfs4"), ("/srv/nfs/a/b", "nfs4"), ("/srv/nfs/disk/a", None), ("/srv/nfs2", None),
        ("/mnt/with space/x", "cifs"), ("/mnt/home/x", "fuse.sshfs"), ("/mnt/over/x", None), ("/mnt/under/x", "smb3"), ("/mnt/host/x", None),
    ],
)  # fmt: skip
def test_network_file_systems_are_told_apart(path: str, kind: str | None) -> None:
    assert network_file_system(Path(path), MOUNTS) == kind


def test_a_directory_on_a_network_file_system_is_refused_with_the_reason(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounts").write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path}/share rw - nfs4 server:/x rw\n")
    monkeypatch.setattr("shared.config.data_dir._MOUNTS", tmp_path / "mounts")
    (tmp_path / "share").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "share")
    for path in ("share", "share/data", "link/data"):
        assert "File locks" in refusal({"ROUTER_DATA_DIR": str(tmp_path / path)}, "ROUTER_DATA_DIR")
    assert list((tmp_path / "share").iterdir()) == []
    for name in ("DATABASE_URL", "ROUTER_LIMITS_URL"):
        assert "nfs4" in refusal({**env, name: f"sqlite:///{tmp_path}/share/x.db"}, name)
