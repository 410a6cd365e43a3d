"""Whether the data of a task is usable, found out before anyone trains: behind ``bibench data check``.

Every task answers through `Task.missing`; those that state a `Task.layout` also tell what is there,
piece by piece, with sizes and checksums. So do the published corrupted test sets, which no task needs.
"""

from __future__ import annotations

import posixpath
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bibench.data.corruptions import CORRUPTIONS
from bibench.data.corruptions.checking import inspect_published
from bibench.data.corruptions.official import Official
from bibench.data.corruptions.sets import CleanSet
from bibench.data.layout import Expected, Found, inspect
from bibench.data.location import DATA_ROOT, cache_dir
from bibench.errors import BiBenchError
from bibench.finding import folders_in, listed
from bibench.tasks.base import TASKS, Task
from bibench.tasks.image_classification import ImageClassification

ENTRIES_SHOWN = 30


@dataclass(frozen=True)
class DataReport:
    """What is known of a task's data.

    Attributes:
        usable: whether a training could start; otherwise `problem` says why not and what to do.
        found: the expected pieces, or of an embedded task the cache (none if it is made in memory).
        entries: what else lies in the data root, where the task states no layout.
        examples: by split, when everything was read.
    """

    task: str
    title: str
    embedded: bool
    usable: bool
    problem: str
    data_root: str | None
    source: str
    licence: str
    found: list[Found] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    examples: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def check_data(task: Task, *, read: bool = False) -> DataReport:
    """Look at the data of `task`.

    Args:
        read: also read every example of every split once (and hash files of any size), which finds
            damaged files but takes as long as an epoch; makes the cache of an embedded task.
    """
    root = task.data_root
    problem, found, examples = "", [], {}
    try:
        problem = task.missing()
        found = _cache(task) if task.embedded else _pieces(root, task.layout(), read)
        if read and not problem:
            examples = _read(task)
            found = _cache(task) if task.embedded else found
    except (BiBenchError, OSError) as error:
        problem = str(error)
    bad = [piece for piece in found if not piece.good]
    if bad and not problem:
        problem = bad[0].told()
    return DataReport(
        task=task.name,
        title=task.title,
        embedded=task.embedded,
        usable=not problem,
        problem=problem,
        data_root=str(root) if root else None,
        source=task.source,
        licence=task.licence,
        found=found,
        entries=[] if task.embedded or found else _entries(root),
        examples=examples,
    )


def corrupted_sets() -> dict[str, type[ImageClassification]]:
    """The published corrupted test sets by name, each with the task whose networks are judged on it."""
    tasks = [cls for cls in map(TASKS.__getitem__, TASKS) if issubclass(cls, ImageClassification)]
    return {cls.corrupted.name: cls for cls in tasks if cls.corrupted is not None}


def check_corrupted(task: ImageClassification, *, read: bool = False) -> DataReport:
    """Look at the published corrupted test set of `task`.

    Args:
        read: also read every image as ``bibench measure corruptions`` does, which compares labels and names
            with those of the test set, so that must be there, too.
    """
    published, root = task.corrupted, task.data_root
    assert published is not None
    found: list[Found] = []
    examples: dict[str, int] = {}
    problems = [f"no data root given; pass --data-root or set ${DATA_ROOT}"]
    if root is not None:
        found, problems = inspect_published(published, root, everything=read)
        if read and not problems:
            examples, problems = _read_corrupted(task, published, root / published.folder)
    return DataReport(
        task=published.name,
        title=published.folder,
        embedded=False,
        usable=not problems,
        problem="\n".join(problems),
        data_root=str(root) if root else None,
        source=published.record,
        licence=published.licence,
        found=found,
        examples=examples,
    )


def _read_corrupted(task: ImageClassification, published: Official, folder: Path) -> tuple[dict[str, int], list[str]]:
    try:
        task.prepare()
        test = task.test_images()
    except (BiBenchError, OSError) as error:
        return {}, [f"without the test set it cannot be told whether it fits: {error}"]
    blank = np.broadcast_to(np.uint8(0), test.images.shape)  # the readers look at its shape alone
    clean = CleanSet(task.name, blank, "", test.labels.numpy(), test.files)
    examples: dict[str, int] = {}
    problems: list[str] = []
    for corruption in CORRUPTIONS:
        try:
            conditions = published.open(folder, corruption, clean, None)
            examples[corruption] = sum(len(condition.read()[0]) for condition in conditions)
        except (BiBenchError, OSError) as error:
            problems.append(str(error))
    return examples, list(dict.fromkeys(problems))


def folders(cls: type[Task]) -> list[str]:
    """The folders below the data root that a task reads, each with all that it needs; several are alternatives."""
    tops: dict[str, list[str]] = {}
    for piece in cls().layout():
        if piece.required:
            tops.setdefault(piece.path.partition("/")[0], []).append(piece.path)
    return [posixpath.commonpath(paths) for paths in tops.values()]


def _pieces(root: Path | None, layout: tuple[Expected, ...], read: bool) -> list[Found]:
    if root is None:
        return []
    return [inspect(root, piece, everything=read) for piece in layout]


def _cache(task: Task) -> list[Found]:
    if not task.cache:
        return []
    pattern = task.cache.format(task=task.name)
    folders = folders_in(cache_dir(), pattern)
    if not folders:
        return [Found(pattern, "cache", "absent", detail="made at its first use")]
    return [inspect(folder.parent, Expected(folder.name, "cache")) for folder in folders]


def _entries(root: Path | None) -> list[str]:
    if root is None or not root.is_dir():
        return []
    try:
        names = sorted(path.name + ("/" if path.is_dir() else "") for path in listed(root))
    except (BiBenchError, OSError) as error:
        return [str(error)]
    more = len(names) - ENTRIES_SHOWN
    return names[:ENTRIES_SHOWN] + ([f"and {more} more"] if more > 0 else [])


def _read(task: Task) -> dict[str, int]:
    task.prepare()
    return {split: sum(batch.size for batch in task.batches(split, batch_size=64).epoch(0)) for split in task.splits()}
