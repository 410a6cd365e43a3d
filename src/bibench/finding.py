"""Finding files: links are followed, every order is fixed, and what cannot be looked into is told.

`Path.rglob` passes by folders behind links and folders that are closed, without a word, and `os.walk` by closed ones.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from bibench.errors import DataError

SUPERSEDED = "superseded"
"""Folders of a run folder whose results were replaced."""

Identity = tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """The files found below a folder, sorted by path, and a line for each thing that could not be looked at."""

    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


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
    return Tree(sorted(walk.files()), sorted(walk.problems))


@dataclass(frozen=True)
class _Place:
    """A folder on the way: how many links lead to it, and itself and all folders that it was reached through."""

    folder: Path
    links: int = 0
    above: frozenset[Identity] = frozenset()


class _Walk:
    def __init__(self, root: Path, pattern: str, leave_out: str, once: bool) -> None:
        self.problems: list[str] = []
        self._found: list[tuple[int, Path, Identity]] = []
        self._root, self._real = root, Path(os.path.realpath(root))
        self._pattern, self._leave_out, self._once = pattern, leave_out, once
        self._entered: set[Identity] = set()

    def files(self) -> list[Path]:
        """What was found; of several names of a file, where it counts once, the one through the fewest links."""
        if not self._once:
            return [path for _, path, _ in self._found]
        return list({key: path for _, path, key in sorted(self._found, reverse=True)}.values())

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
            link = entry.is_symlink()
            matches = fnmatchcase(entry.name, self._pattern)
            try:
                if not (link or matches or entry.is_dir()):
                    continue
                status = os.stat(entry.path)
            except OSError as error:
                self._note_unreachable(entry.path, link, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                if entry.name == self._pattern:
                    self.problems.append(f"{entry.path} is a folder, expected a file")
                if not link:
                    own.append(_Place(Path(entry.path), place.links, above))
                elif self._may_follow(entry.path):
                    linked.append(_Place(Path(entry.path), place.links + 1, above))
            elif matches and not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, without end
                self.problems.append(f"{entry.path} is no regular file")
            elif matches:
                self._found.append((place.links + link, Path(entry.path), _identity(status)))
        return own, linked

    def _note_unreachable(self, path: str, link: bool, error: OSError) -> None:
        what = "is a link that cannot be followed" if link else "cannot be looked at"
        if not (link and os.path.basename(path).startswith(".#")):  # an editor's lock, which is a link to no file
            self.problems.append(f"{path} {what} ({error.strerror})")

    def _may_follow(self, link: str) -> bool:
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


def data_files(folder: Path, pattern: str = "*") -> list[Path]:
    """The files of a data set anywhere below `folder`, as `find` gives them; a `DataError` for its first problem.

    A part of a data set is another data set, so nothing is left out.
    """
    tree = find(folder, pattern)
    if tree.problems:
        more = f" (and {len(tree.problems) - 1} more)" if tree.problems[1:] else ""
        raise DataError(f"{tree.problems[0]}{more}; make it readable, or restore it from the distribution")
    return tree.files


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies directly in `folder` and matches, sorted; nothing if there is no such folder.

    Raises:
        DataError: the folder is there but cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if fnmatchcase(entry.name, pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error.strerror}); make it readable") from error


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in `folder`, and links to folders, sorted.

    Raises:
        DataError: it cannot be listed, or a link in it leads nowhere.
    """
    found = []
    for path in listed(folder):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise DataError(f"{path} is a link that cannot be followed ({error.strerror}); restore it") from error
        if stat.S_ISDIR(mode):
            found.append(path)
    return found
