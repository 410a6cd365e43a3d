"""A compiler launcher for tests: what was compiled before, from the same text with the same options, is copied.

python compile_once.py FOLDER COMPILER ARGUMENTS...

Several tests build the same sources in fresh folders, and most runs of the tests change none of them. The key of an
object file is the preprocessed text, the options and the compiler; whoever comes second waits for the first. Warnings
are kept, too, and said again; what nobody asked for in a month goes.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

MONTH = 30 * 24 * 3600
WITH_VALUE = ("-o", "-MT", "-MF", "-MQ", "-I", "-isystem", "-D")  # told by the text, or of no consequence
ALONE = ("-MD", "-MMD", "-c")


def options(arguments: list[str]) -> list[str]:
    """What else than the text decides about the object file."""
    kept, skip = [], False
    for word in arguments:
        if skip or word in WITH_VALUE:
            skip = not skip
        elif word not in ALONE and not word.startswith(("-I", "-D")) and not word.endswith((".cpp", ".cc", ".cxx")):
            kept.append(word)
    return kept


def key(compiler: str, arguments: list[str]) -> str | None:
    """None if the text cannot be preprocessed. Also writes the file of dependencies that was asked for."""
    at = arguments.index("-o")
    preprocess = [w for i, w in enumerate(arguments) if w != "-c" and i not in (at, at + 1)]
    text = subprocess.run([compiler, *preprocess, "-E", "-P"], capture_output=True)
    if text.returncode:
        return None
    program = Path(shutil.which(compiler) or compiler).resolve()
    about = program.stat()
    parts = [str(program), about.st_size, about.st_mtime_ns, *options(arguments)]
    return hashlib.sha256("\0".join(map(str, parts)).encode() + b"\0" + text.stdout).hexdigest()


def forget(folder: Path, before: float) -> None:
    """What was used last before that time."""
    for file in folder.iterdir():
        if file.stat().st_mtime < before:
            file.unlink(missing_ok=True)


def main(folder: Path, compiler: str, arguments: list[str]) -> int:
    command = [compiler, *arguments]
    if "-c" not in arguments or "-o" not in arguments:
        return subprocess.call(command)
    target = arguments[arguments.index("-o") + 1]
    name = key(compiler, arguments)
    if name is None:
        return subprocess.call(command)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return subprocess.call(command)
    stored, said = folder / f"{name}.o", folder / f"{name}.txt"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stored.exists():
            for file in (stored, said):
                os.utime(file)
            sys.stderr.buffer.write(said.read_bytes())
            shutil.copyfile(stored, target)
            return 0
        done = subprocess.run(command, stderr=subprocess.PIPE)
        sys.stderr.buffer.write(done.stderr)
        if done.returncode == 0:
            said.write_bytes(done.stderr)
            part = folder / f"{name}.part"
            shutil.copyfile(target, part)
            part.replace(stored)
            forget(folder, time.time() - MONTH)
        return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
