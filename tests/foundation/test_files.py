"""Files are whole or absent, and what cannot be written or read says how to fix it."""

import errno
import json
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bibench.foundation.errors import CheckpointError, StoreError
from bibench.foundation.files import (
    load_checkpoint,
    read_json,
    remove_leftovers,
    save_checkpoint,
    storing,
    write_atomically,
    write_json,
    write_text,
)

FULL = "the disk is full; free space and run again, finished work is kept"
CLOSED = r"the folder cannot be written; change its permissions or choose another one \(--runs\)"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


class TestAtomicity:
    def test_a_write_replaces_the_whole_file(self, tmp_path: Path) -> None:
        file = tmp_path / "a.txt"
        write_text(file, "a much longer text than what follows")
        write_text(file, "größer")
        assert file.read_bytes() == "größer".encode()
        assert names(tmp_path) == ["a.txt"]

    @pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
    def test_a_write_that_raises_leaves_the_old_file(self, tmp_path: Path, error: BaseException) -> None:
        file = tmp_path / "a.txt"
        write_text(file, "old")

        def half(stream) -> None:
            stream.write(b"new, but only ha")
            raise error

        with pytest.raises(type(error)) as caught:
            write_atomically(file, half)
        assert caught.value is error
        assert file.read_text() == "old"
        assert names(tmp_path) == ["a.txt"]

    @pytest.mark.slow
    def test_a_process_that_is_killed_while_writing_leaves_the_old_file(self, tmp_path: Path) -> None:
        file = tmp_path / "a.txt"
        write_text(file, "old")
        code = (
            "import os, signal, sys; from pathlib import Path; from bibench.foundation.files import write_atomically\n"
            "def half(stream):\n"
            "    stream.write(b'new'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
            "write_atomically(Path(sys.argv[1]), half)"
        )
        assert subprocess.run([sys.executable, "-c", code, str(file)], timeout=300).returncode == -9
        assert file.read_text() == "old"
        assert len(names(tmp_path)) == 2
        (tmp_path / ".hidden").touch()
        remove_leftovers(tmp_path)
        assert names(tmp_path) == [".hidden", "a.txt"]

    def test_files_have_the_permissions_the_user_asked_for(self, tmp_path: Path) -> None:
        """Colleagues read a shared run folder."""
        old = os.umask(0o027)
        try:
            write_text(tmp_path / "a.txt", "x")
        finally:
            os.umask(old)
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640

    def test_json_is_readable_and_strict(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"a": [1, None]})
        assert (tmp_path / "a.json").read_text() == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'
        assert read_json(tmp_path / "a.json") == {"a": [1, None]}
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a.json", {"a": float("nan")})
        assert read_json(tmp_path / "a.json") == {"a": [1, None]}

    @pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"[1]]"])
    def test_damaged_json_names_the_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(StoreError, match=r"a\.json cannot be read .*; delete it or restore it"):
            read_json(tmp_path / "a.json")


class TestErrorsOfTheSystem:
    @pytest.mark.parametrize(
        ("number", "fix"),
        [
            (errno.ENOSPC, FULL),
            (errno.EDQUOT, FULL),
            (errno.EFBIG, FULL),
            (errno.EACCES, CLOSED),
            (errno.EPERM, CLOSED),
            (errno.EROFS, CLOSED),
            (errno.EIO, "check the folder"),
        ],
    )
    def test_each_names_the_path_and_the_fix(self, tmp_path: Path, number: int, fix: str) -> None:
        problem = rf"cannot write {tmp_path}/x \({os.strerror(number)}\): {fix}$"
        with pytest.raises(StoreError, match=problem) as caught, storing(tmp_path / "x"):
            raise OSError(number, os.strerror(number))
        assert isinstance(caught.value.__cause__, OSError)

    def test_errors_that_are_not_about_writing_pass(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError, match="shapes differ"), storing(tmp_path):
            raise RuntimeError("shapes differ")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_device(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a", "old")
        with pytest.raises(StoreError, match=rf"cannot write {tmp_path}/a \(No space left on device\): {FULL}"):
            write_atomically(tmp_path / "a", lambda stream: Path("/dev/full").write_bytes(b"x") and None)
        assert (tmp_path / "a").read_text() == "old"

    def test_a_closed_folder(self, tmp_path: Path, closed: Callable[[Path], Path]) -> None:
        folder = closed(tmp_path / "folder")
        with pytest.raises(StoreError, match=rf"cannot write {folder}/a \(Permission denied\): {CLOSED}"):
            write_text(folder / "a", "x")

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r"cannot write .*none/a \(No such file or directory\): check the folder"):
            write_text(tmp_path / "none" / "a", "x")

    @pytest.mark.parametrize(
        "write",
        [
            lambda path: write_text(path, "x" * 9_000),
            lambda path: save_checkpoint(path, {"x": torch.zeros(1_650)}),  # fails at its end
            lambda path: save_checkpoint(path, {"x": torch.zeros(1_000_000)}),
            lambda path: save_checkpoint(path, {i: torch.zeros(100) for i in range(100)}),
        ],
    )
    def test_a_file_that_grows_too_large_leaves_the_old_one(
        self, tmp_path: Path, write: Callable[[Path], None]
    ) -> None:
        """A real limit of the kernel, met in the middle of the write."""
        write_text(tmp_path / "a", "old")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))
        try:
            with pytest.raises(StoreError) as caught:
                write(tmp_path / "a")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert str(caught.value) == f"cannot write {tmp_path}/a (File too large): {FULL}"
        assert names(tmp_path) == ["a"]
        assert (tmp_path / "a").read_text() == "old"


@pytest.fixture
def closed():
    """Make a folder that this process cannot write, root or not."""
    user = os.geteuid()

    def make(folder: Path) -> Path:
        folder.mkdir()
        folder.chmod(0o500)
        if user == 0:
            os.seteuid(65534)
        return folder

    yield make
    os.seteuid(user)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


class TestCheckpoints:
    def test_round_trip(self, tmp_path: Path) -> None:
        data = {"model": {"w": torch.randn(3, dtype=torch.bfloat16)}, "n": 1, "s": "x", "l": [1.5, None, (True,)]}
        save_checkpoint(tmp_path / "a.pt", data)
        again = load_checkpoint(tmp_path / "a.pt")
        assert torch.equal(again["model"].pop("w"), data["model"].pop("w"))
        assert again == data

    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    @pytest.mark.parametrize("form", ["torch", "pickle", "old torch"])
    def test_a_malicious_file_is_refused_without_running_it(self, tmp_path: Path, form: str) -> None:
        proof = tmp_path / "proof"
        data = {"model": Evil(proof)}
        with (tmp_path / "a.pt").open("wb") as stream:
            if form == "pickle":
                pickle.dump(data, stream)
            else:
                torch.save(data, stream, _use_new_zipfile_serialization=form == "torch")
        with pytest.raises(
            CheckpointError, match="holds more than tensors and plain data and was therefore not opened"
        ):
            load_checkpoint(tmp_path / "a.pt")
        assert not proof.exists()
        if form == "pickle":
            pickle.loads((tmp_path / "a.pt").read_bytes())
        else:
            torch.load(tmp_path / "a.pt", weights_only=False)
        assert proof.exists()  # it would have run

    @pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, share: float) -> None:
        save_checkpoint(tmp_path / "a.pt", {"w": torch.zeros(1000)})
        content = (tmp_path / "a.pt").read_bytes()
        (tmp_path / "a.pt").write_bytes(content[: int(share * len(content))])
        with pytest.raises(CheckpointError, match=r"checkpoint .*a\.pt is damaged, .*; delete it or restore it"):
            load_checkpoint(tmp_path / "a.pt")

    def test_other_content_is_refused(self, tmp_path: Path) -> None:
        torch.save([1, 2], tmp_path / "a.pt")
        with pytest.raises(CheckpointError, match=r"checkpoint .*a\.pt holds a list, expected a dictionary"):
            load_checkpoint(tmp_path / "a.pt")
        (tmp_path / "b.pt").write_text(json.dumps({"a": 1}))
        with pytest.raises(CheckpointError, match="is damaged"):
            load_checkpoint(tmp_path / "b.pt")

    def test_a_missing_file_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"checkpoint .*none\.pt does not exist"):
            load_checkpoint(tmp_path / "none.pt")
