"""Where data lives: the user's data root, BiBench's own cache, and atomic, locked building of the latter."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from bibench.data.sums import compare, seal
from bibench.foundation.errors import DataError, require

DATA_ROOT = "BIBENCH_DATA"
CACHE = "BIBENCH_CACHE"


def data_root(given: str | Path | None = None) -> Path | None:
    """The user's data root: `given`, else ``$BIBENCH_DATA``, else None. Raises if it is no folder."""
    value = given or os.environ.get(DATA_ROOT)
    if not value:
        return None
    root = Path(value).expanduser()
    if not root.is_dir():
        source = "--data-root" if given else f"${DATA_ROOT}"
        raise DataError(f"{source}: {root} is not an existing folder; create it or name another one")
    return root.resolve()


def cache_dir() -> Path:
    """BiBench's cache: ``$BIBENCH_CACHE``, else ``bibench`` under the user's cache folder."""
    if value := os.environ.get(CACHE):
        return Path(value).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "bibench"


def cached_folder(name: str, build: Callable[[Path], None], *, checksums: bool = True) -> Path:
    """The cached folder `name`, built once by `build` (which fills an empty folder it is given).

    Two processes may ask at once: one builds, the other waits. A build that was killed leaves
    nothing that would be taken for complete, since the folder appears by one rename; the next build
    clears its remains away.

    Args:
        checksums: store those of the files with them, and compare them at every call (`bibench.data.sums`); False where
            whoever reads them does that.

    Raises:
        DataError: it cannot be built, or a file in it is not what was built.
    """
    require("filelock", extra="bench", purpose="the data cache")
    from filelock import FileLock

    final = cache_dir() / name
    if final.is_dir():
        compare(final)
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_name(final.name + ".lock")):
            if final.is_dir():  # another process has just built it
                return final
            scratch = final.with_name(f".{final.name}.partial")
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                scratch.mkdir()
                build(scratch)
                if checksums:
                    seal(scratch)
                scratch.rename(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"cannot build {name} in the cache {cache_dir()}: {error}; free space, or set ${CACHE} to another folder"
        ) from error
    return final
