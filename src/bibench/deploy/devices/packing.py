"""The bundle: our runner, the job and its files in one folder that needs nothing from outside."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from bibench.deploy import bundle
from bibench.foundation.errors import BiBenchError

JOB = "job.json"


def place(folder: Path, job: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Make the bundle in `folder`."""
    for name, file in _members(files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.resolve(), target)
        except OSError:  # another file system; a symbolic link would not do, engines do not follow those to weights
            shutil.copy2(file, target)
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")


def pack(stream: BinaryIO, job: Mapping[str, Any], files: Mapping[str, Path]) -> None:
    """Write the bundle as a tar archive; owners and times of this machine stay here."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, file in _members(files):
            with file.open("rb") as content:
                member = tarfile.TarInfo(name)
                member.size = file.stat().st_size
                member.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
                archive.addfile(member, content)
        text = json.dumps(job).encode()
        member = tarfile.TarInfo(JOB)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))


def _members(files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for file in sorted(Path(bundle.__file__).parent.glob("*.py")):
        yield f"bundle/{file.name}", file
    for name, file in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BiBenchError(f"file {name!r} leads out of the bundle; expected a name below it")
        yield name, file
