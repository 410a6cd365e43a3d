"""SSH, against a real server: measuring, verified hosts, lost connections, and nothing left behind."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.deploy import ENGINES, session
from bibench.deploy.contenders import contenders
from bibench.deploy.devices import Connection, Device
from bibench.deploy.devices.ssh import FOLDER, Ssh, quote_home
from bibench.deploy.latency import Request, to_job
from bibench.foundation.errors import BiBenchError

from ..onnx_files import convolution
from ..test_running import exported
from .sshd import Server, serving, trust


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def remote(server: Server) -> Ssh:
    trust(server, "host_key")
    return Ssh(device(server))


def device(server: Server, **more: Any) -> Device:
    options = {"host": "127.0.0.1", "port": server.port, "ssh_config": server.config, "python": sys.executable, **more}
    return Device("board", transport="ssh", options=options)


def job(folder: Path, **more: Any) -> tuple[dict[str, Any], dict[str, Path]]:
    """Two models in files whose names would hurt a careless shell."""
    models = [convolution(folder / "it's $(touch hacked) `id`;\n\"&.onnx", 8), convolution(folder / "-rf *.onnx", 2)]
    asked = {"threads": (1,), "max_seconds": 1.0, "memory": False, **more}
    return to_job(Request(tuple(contenders(models, None, [])), **asked))


def at_work(server: Server) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(str(server.scratch))]


def nothing_is_left(server: Server, seconds: float = 20.0) -> bool:
    """Whether all files and processes of sessions go away."""
    end = time.monotonic() + seconds
    while (list(server.scratch.iterdir()) or at_work(server)) and time.monotonic() < end:
        time.sleep(0.2)
    return not list(server.scratch.iterdir()) and not at_work(server)


def test_measures_and_leaves_nothing(remote: Ssh, server: Server, tmp_path: Path) -> None:
    events = []
    for event in remote.run(*job(tmp_path, memory=True, profile=True)):
        events.append(event)
        assert event["event"] != "session" or (list(server.scratch.iterdir()) and at_work(server))  # the check can fail
    kinds = [event["event"] for event in events]
    assert kinds[0] == "machine" and kinds[-1] == "done"
    results = [event for event in events if event["event"] == "result"]
    assert [r["status"] for r in results] == ["ok", "ok"]
    assert all(len(r["samples"]) >= 6 and min(r["samples"]) > 0 for r in results)
    assert kinds.count("memory") == kinds.count("profile") == 2
    assert nothing_is_left(server)
    assert not list(tmp_path.rglob("hacked")) and not Path("hacked").exists()


def test_packed_models_run_with_the_library_that_is_given(remote: Ssh, server: Server, tmp_path: Path) -> None:
    if reason := ENGINES["bibench"]().available():
        pytest.skip(reason)
    library = tmp_path / "operators of this machine.so"
    library.write_bytes(Path(session.library()).read_bytes())
    found = tuple(contenders([exported(tmp_path / "net.onnx", "bibench")], None, []))
    asked = Request(found, threads=(1,), max_seconds=1.0, library=library)
    results = [e for e in remote.run(*to_job(asked)) if e["event"] == "result"]
    assert [(r["status"], r.get("reason")) for r in results] == [("ok", None)]
    assert nothing_is_left(server)


def test_an_unknown_host_is_refused_whatever_the_configuration_says(
    remote: Ssh, server: Server, tmp_path: Path
) -> None:
    assert "StrictHostKeyChecking no" in server.config.read_text()
    server.known_hosts.write_text("")
    with pytest.raises(
        Connection, match=r"Host key verification failed.*connect once with ssh, compare its fingerprint"
    ):
        next(remote.run(*job(tmp_path)))
    assert server.known_hosts.read_text() == ""  # and not learned


def test_a_host_with_another_key_is_refused(remote: Ssh, server: Server, tmp_path: Path) -> None:
    trust(server, "other_key")
    with pytest.raises(Connection, match=r"(?s)key sent by the remote host is\nSHA256:.*before you trust it"):
        next(remote.run(*job(tmp_path)))


def test_without_a_key_no_password_is_asked_for(server: Server, tmp_path: Path) -> None:
    trust(server, "host_key")
    other = tmp_path / "config"
    other.write_text(server.config.read_text().replace("user_key", "other_key"))
    with pytest.raises(Connection, match=r"Permission denied.*only keys are used, never passwords: ssh-copy-id"):
        next(Ssh(device(server, ssh_config=other)).run(*job(tmp_path)))


def test_nobody_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Connection, match=r"board: .*Connection refused"):
        next(Ssh(device(server, port=1)).run(*job(tmp_path)))


def test_a_connection_that_is_lost_keeps_what_came_and_cleans_up(remote: Ssh, server: Server, tmp_path: Path) -> None:
    events = []
    with pytest.raises(Connection, match="board: the connection failed or was lost"):
        for event in remote.run(*job(tmp_path, batches=(1, 2), precision=0.001, max_seconds=6.0)):
            events.append(event)
            if event["event"] == "at" and event["batch"] == 2:
                server.hang_up()
    assert {e["batch"] for e in events if e["event"] == "result"} == {1}
    assert nothing_is_left(server)


def test_no_python_there(server: Server, tmp_path: Path) -> None:
    trust(server, "host_key")
    with pytest.raises(BiBenchError, match=r"board: the measurement ended with status 127: .*no such python"):
        list(Ssh(device(server, python="no such python")).run(*job(tmp_path)))
    assert nothing_is_left(server)


def test_an_upload_that_fails_leaves_nothing(remote: Ssh, server: Server, tmp_path: Path) -> None:
    asked, files = job(tmp_path)
    with pytest.raises(FileNotFoundError):
        list(remote.run(asked, {**files, "files/none": tmp_path / "none"}))
    assert nothing_is_left(server)


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "a b", "pi@-x", "user:secret@host", "", "h;id", "h\n"])
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(BiBenchError, match="'host' is no host") as refused:
        Ssh(Device("board", transport="ssh", options={"host": host}))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["pi", "pi@raspberrypi.local", "root@10.0.0.7", "user.name@fe80::1%eth0"])
def test_hosts(host: str) -> None:
    command = Ssh(Device("board", transport="ssh", options={"host": host}))._command("true")
    assert command[command.index("--") + 1] == host
    assert "StrictHostKeyChecking=yes" in command and "BatchMode=yes" in command


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_any_path_is_one_word_for_the_shell(path: str) -> None:
    word = quote_home(path)
    if path.startswith("~/"):
        assert shlex.split(word) == [f"$HOME/{path[2:]}"]
        assert word.startswith('"$HOME"/')
    else:
        assert shlex.split(word) == [path]


@pytest.mark.parametrize("text", ["$(id)", "`id`", "a'b", 'a"b', "a\nb", "~", "*", "\\", "-n", "a;b", "~root", "!!"])
def test_a_real_shell_takes_it_as_it_is(text: str) -> None:
    said = subprocess.run(["sh", "-c", f"printf %s {quote_home(text)}"], capture_output=True, text=True, check=True)
    assert said.stdout == text


@pytest.mark.parametrize("folder", ["/tmp/bibench-a1B2c3D4", "/private/var/folders/x_y/T/bibench-abcdefgh"])
def test_folders_of_devices(folder: str) -> None:
    assert FOLDER.fullmatch(folder)


@pytest.mark.parametrize(
    "folder", ["/", "/tmp", "bibench-abcdef", "/tmp/bibench-", "/tmp/$(id)/bibench-abcdef", "/a b/bibench-abcdef"]
)
def test_no_other_folder_is_ever_removed(folder: str) -> None:
    assert not FOLDER.fullmatch(folder)
