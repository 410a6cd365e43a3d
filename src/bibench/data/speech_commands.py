"""Speech Commands (Warden, 2018; arXiv:1804.03209): its folders, its lists, and the twelve classes.

A distribution is one folder of wave files for each word, ``_background_noise_``, and two lists of files,
``validation_list.txt`` and ``testing_list.txt``; what is in neither list is for training. Without the
lists the published hash rule decides, which gives the lists of the official v0.02 entry for entry.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from bibench.errors import DataError
from bibench.files import unreadable
from bibench.finding import folders_in, listed
from bibench.lines import BLANK, read_lines

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE, UNKNOWN = "_silence_", "_unknown_"
CLASSES = (*KEYWORDS, SILENCE, UNKNOWN)
NOISE_FOLDER = "_background_noise_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}

_V1 = (
    *("bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy", "house", "left", "marvin", "nine"),
    *("no", "off", "on", "one", "right", "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "wow"),
    *("yes", "zero"),
)
WORDS = {"v0.01": frozenset(_V1), "v0.02": frozenset((*_V1, "backward", "follow", "forward", "learn", "visual"))}
"""The words of each version, 30 and 35."""

ENTRY = re.compile(r"[a-z]+/\w+\.wav")
"""What a line of the lists looks like: nothing that leaves the folder."""


@dataclass(frozen=True)
class Clip:
    """One recording: its path inside the folder, as the lists write it (``bed/00176480_nohash_0.wav``)."""

    path: str

    @property
    def word(self) -> str:
        """The word that is spoken: the name of its folder."""
        return self.path.partition("/")[0]

    @property
    def label(self) -> int:
        """Index in `CLASSES`: a keyword, or unknown for the other words."""
        return CLASSES.index(self.word if self.word in KEYWORDS else UNKNOWN)


def which_split(name: str, validation: float = 10.0, test: float = 10.0) -> str:
    """The split of a file by the published rule, from the part of its name before ``_nohash_`` (the speaker).

    Args:
        name: file name, with or without its folder.
        validation, test: percentages.
    """
    speaker = re.sub(r"_nohash_.*$", "", name.rpartition("/")[2])
    most = 2**27 - 1
    percentage = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (most + 1) * (100.0 / most)
    if percentage < validation:
        return "validation"
    return "test" if percentage < validation + test else "train"


def find_folder(root: Path, version: str) -> Path | None:
    """The folder of a version below the data root, or None; ``speech_commands/`` may hold either version."""
    name = f"speech_commands_{version}"
    for candidate in (root / name, root / "SpeechCommands" / name, root / "speech_commands" / name):
        if candidate.is_dir():
            return candidate
    shared = root / "speech_commands"
    found = {folder.name for folder in folders_in(shared)}
    return shared if found and found - {NOISE_FOLDER} == WORDS[version] else None


def check_folder(folder: Path, version: str) -> str:
    """What is wrong with the folders of a distribution, or an empty string; opens no file."""
    found = {entry.name for entry in folders_in(folder) if not entry.name.startswith(".")}
    if missing := sorted(WORDS[version] - found):
        return (
            f"{folder} lacks {len(missing)} of the {len(WORDS[version])} word folders of Speech Commands {version} "
            f"({missing[0]}, ...); unpack the archive again"
        )
    if odd := sorted(found - WORDS[version] - {NOISE_FOLDER}):
        return (
            f"{folder / odd[0]} is no word of Speech Commands {version} ({len(odd)} such folders); "
            "move it away, or name the folder after the version it is"
        )
    if not listed(folder / NOISE_FOLDER, "*.wav"):
        return f"{folder / NOISE_FOLDER} has no wave files; unpack the archive again"
    lists = [name for name in LISTS.values() if (folder / name).is_file()]
    if len(lists) == 1:
        return f"{folder} has {lists[0]} but not the other list; restore both, or remove it to split by the hash rule"
    return ""


def split_by(folder: Path) -> str:
    """How the clips of a folder are split: ``lists``, or ``hash rule`` without them."""
    return "lists" if all((folder / name).is_file() for name in LISTS.values()) else "hash rule"


def index(folder: Path, version: str) -> dict[str, list[Clip]]:
    """All clips by split, in the order of their paths.

    Raises:
        DataError: naming the folder, or the list and line, when something is missing or does not belong.
    """
    if problem := check_folder(folder, version):
        raise DataError(problem)
    clips = [Clip(f"{word}/{file.name}") for word in sorted(WORDS[version]) for file in _waves(folder / word)]
    paths = {clip.path for clip in clips}
    if split_by(folder) == "lists":
        listed = {split: _read_list(folder / name, paths) for split, name in LISTS.items()}
        if both := sorted(listed["validation"] & listed["test"]):
            raise DataError(f"{folder}: {both[0]} is in both lists ({len(both)} such files); restore the lists")
        of = {path: split for split, entries in listed.items() for path in entries}
    else:
        of = {path: which_split(path) for path in paths}
    splits: dict[str, list[Clip]] = {"train": [], "validation": [], "test": []}
    for clip in clips:
        splits[of.get(clip.path, "train")].append(clip)
    for split, found in splits.items():
        if not found:
            raise DataError(f"{folder} has no clips for the {split} split; is it the whole distribution?")
    return splits


def _waves(folder: Path) -> list[Path]:
    files = listed(folder, "*.wav")
    if not files:
        raise DataError(f"{folder} has no wave files; unpack the archive again")
    return files


def _read_list(file: Path, paths: set[str]) -> set[str]:
    try:
        lines = list(read_lines(file))
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{file} cannot be read ({error}); restore it from the distribution"
        raise DataError(unreadable(file, error) or problem) from error
    entries = set()
    for number, line in enumerate(lines, 1):
        entry = line.strip(BLANK)
        if not entry:
            continue
        if not ENTRY.fullmatch(entry):
            raise DataError(
                f"{file}, line {number}: {entry!r} is not of the form word/name.wav inside the folder; restore the list"
            )
        if entry not in paths:
            raise DataError(f"{file}, line {number}: {entry} is not there; unpack the archive again")
        entries.add(entry)
    if not entries:
        raise DataError(f"{file} is empty; restore it from the distribution, or remove both lists")
    return entries
