"""Finding files: links are followed, every order is fixed, and what cannot be looked into is told.

`Path.rglob` passes by folders behind links and folders that are closed, without a word, and `os.walk` by closed ones.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections import deque
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from bibench.errors import DataError

SUPERSEDED = "superseded"
"""Folders of a run folder whose results were replaced."""

Identity = tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """The files found below a folder, sorted by path, and a line for each thing that could not be looked at."""

    files: list[Path]
    problems: list[str]


def find(root: Path, pattern: str = "*", *, leave_out: str = "", once: bool = False) -> Tree:
    """The regular files anywhere below `root` whose names match `pattern`, those behind links included.

    A problem is a folder that cannot be listed, a link that leads nowhere or to a folder that holds `root`, and a
    thing named `pattern` that is no regular file. Nothing is opened.

    Args:
        pattern: of names, as in `fnmatch`, case included.
        leave_out: name of folders that are passed by, also where a link leads into one of `root`'s.
        once: whether a file with several names (links to it or to a folder above it, hard links) counts once: under
            the name that passes the fewest links, the first in order of several. Otherwise every name counts, as in
            a data set, whose folders tell classes; a folder is then not entered again from within itself.
    """
    walk = _Walk(root, pattern, leave_out, once)
    own, linked = deque([_Place(root)]), deque[_Place]()
    while own or linked:  # what passes fewer links comes first
        place = (own or linked).popleft()
        inside, behind_links = walk.look_into(place)
        own.extend(inside)
        linked.extend(behind_links)
    return walk.tree()


@dataclass(frozen=True)
class _Place:
    """A folder on the way: how many links lead to it, and itself and all folders that it was reached through."""

    folder: Path
    links: int = 0
    above: frozenset[Identity] = frozenset()


class _Found(NamedTuple):
    links: int
    path: Path
    identity: Identity | None


class _Walk:
    def __init__(self, root: Path, pattern: str, leave_out: str, once: bool) -> None:
        self.problems: list[str] = []
        self._found: list[_Found] = []
        self._root, self._real = root, Path(os.path.realpath(root))
        self._pattern, self._leave_out, self._once = pattern, leave_out, once
        self._entered: set[Identity] = set()

    def tree(self) -> Tree:
        """What was found; of several names of a file, where it counts once, the one through the fewest links."""
        chosen = self._found
        if self._once:
            chosen = list({found.identity: found for found in sorted(chosen, reverse=True)}.values())
        return Tree(sorted(found.path for found in chosen), sorted(self.problems))

    def look_into(self, place: _Place) -> tuple[list[_Place], list[_Place]]:
        """Note the files of a folder; its folders, and its links to folders."""
        try:
            itself = _identity(place.folder.stat())
            if itself in (self._entered if self._once else place.above):
                return [], []
            with os.scandir(place.folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{place.folder} cannot be listed ({error.strerror})")
            return [], []
        self._entered.add(itself)
        own, linked, above = [], [], place.above | {itself}
        for entry in found:
            if entry.name == self._leave_out:
                continue
            path, link = Path(entry.path), entry.is_symlink()
            matches = fnmatchcase(entry.name, self._pattern)
            try:
                status = path.stat() if link or (matches and self._once) else None
                is_folder = entry.is_dir()
                regular = matches and not is_folder and entry.is_file()
            except OSError as error:
                self._note_unreachable(path, link, error)
                continue
            if is_folder:
                if entry.name == self._pattern:
                    self.problems.append(f"{path} is a folder, expected a file")
                if not link:
                    own.append(_Place(path, place.links, above))
                elif self._may_follow(path):
                    linked.append(_Place(path, place.links + 1, above))
            elif regular:
                self._found.append(_Found(place.links + link, path, _identity(status) if status else None))
            elif matches:  # a pipe would be waited for, without end
                self.problems.append(f"{path} is no regular file")
        return own, linked

    def _note_unreachable(self, path: Path, link: bool, error: OSError) -> None:
        what = "is a link that cannot be followed" if link else "cannot be looked at"
        if not (link and path.name.startswith(".#")):  # an editor's lock, which is a link to no file
            self.problems.append(f"{path} {what} ({error.strerror})")

    def _may_follow(self, link: Path) -> bool:
        target = Path(os.path.realpath(link))
        if target != self._real and self._real.is_relative_to(target):
            self.problems.append(f"{link} leads to {target}, which holds {self._root} itself; it is not followed")
            return False
        inside = target.is_relative_to(self._real)
        return not (self._leave_out and inside and self._leave_out in target.relative_to(self._real).parts)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def results(folder: Path, name: str) -> list[Path]:
    """The files called `name` of all cells of a run folder: each real file once, none that was superseded.

    Warns of everything that could not be looked at, so that no result is missing without a word. All that read run
    folders go through here, and therefore agree on what there is.
    """
    tree = find(folder, name, leave_out=SUPERSEDED, once=True)
    for problem in tree.problems:
        warn_left_out(problem)
    return tree.files


def warn_left_out(problem: str) -> None:
    """Warn of results that could not be read."""
    warnings.warn(f"{problem}; results there are left out: make it readable, or move it away", stacklevel=3)


def data_tree(folder: Path, pattern: str = "*") -> Tree:
    """The files of a data set anywhere below `folder`, as `find` gives them; a `DataError` for its first problem.

    A part of a data set is another data set, so nothing is left out.
    """
    tree = find(folder, pattern)
    if tree.problems:
        more = f" (and {len(tree.problems) - 1} more)" if tree.problems[1:] else ""
        raise DataError(f"{tree.problems[0]}{more}; make it readable, or restore it from the distribution")
    return tree


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies below `folder` where `pattern` says (``*.wav``, ``*/train/*.off``), in order; nothing if there is none.

    Links are followed.

    Raises:
        DataError: a folder on the way cannot be listed, or something that matches is a link that leads nowhere.
    """
    first, _, rest = pattern.partition("/")
    try:
        with os.scandir(folder) as entries:
            found = sorted(Path(entry.path) for entry in entries if fnmatchcase(entry.name, first))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); make it readable") from error
    if rest:
        return [path for inner in found if _is_folder(inner) for path in listed(inner, rest)]
    for path in found:
        _is_folder(path)
    return found


def folders_in(folder: Path, pattern: str = "*") -> list[Path]:
    """What `listed` gives, if it is a folder or a link to one."""
    return [path for path in listed(folder, pattern) if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        what = "is a link that cannot be followed" if path.is_symlink() else "cannot be looked at"
        raise DataError(f"{path} {what} ({error.strerror}); restore it, or remove it") from error
