"""The pages on tasks, one for each file of tasks, from the classes in it. `generate.py` writes them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import torch

from bibench.foundation.choice import choice
from bibench.models import MODELS
from bibench.recipes.recipe import Recipe
from bibench.suite.definition import SUITES
from bibench.tasks import TASKS
from bibench.tasks.base import Task

Tasks = list[type[Task]]

SHARED_ATTENTION = (
    "The products of attention have no weights, so they are no part of an operator: in a binarized transformer all "
    "eight operators share the fixed binarizers of bi-attention (BiBERT; sign with a straight-through gradient for "
    "queries, keys and values, a threshold for the scores), and they differ in its linear layers only."
)
NOTES = {"speech": "speech", "text": "text", "point cloud": "point-clouds", "detection": "detection"}
"""Sections of data.md by modality."""
ALWAYS = ("epochs", "batch_size", "optimizer", "lr", "schedule")
"""Attributes of a recipe that are always shown; others where one differs from its default."""


def pages() -> dict[str, str]:
    """Texts by file name."""
    found = families()
    return {"README.md": index(found), **{f"{name}.md": page(name, tasks) for name, tasks in found.items()}}


def families() -> dict[str, Tasks]:
    """BiBench's own tasks by the file that defines them."""
    found: dict[str, Tasks] = {}
    for name in TASKS:
        package, _, module = TASKS[name].__module__.rpartition(".")
        if package == "bibench.tasks":
            found.setdefault(module, []).append(TASKS[name])
    return found


# -- the index -----------------------------------------------------------------------------------------------


def index(found: dict[str, Tasks]) -> str:
    """All tasks by modality, with the stand-ins of each data set."""
    lines = [
        "# Tasks",
        "",
        "A task is data, a metric, recipes and the architectures that are trained on it. One page per",
    ]
    lines += [
        "file of tasks; [data.md](../data.md) says how data is found and checked. Embedded tasks are made from what"
    ]
    lines += ["BiBench's dependencies carry, and results on them are never labelled as the data set they stand in for."]
    for modality in UNITS:
        for embedded, title in ((False, "your data"), (True, "embedded")):
            rows = [(n, t) for n, t in found.items() if (t[0].modality, t[0].embedded) == (modality, embedded)]
            if rows:
                lines += ["", f"## {modality.capitalize()}, {title}", "", *index_table(rows, embedded)]
    return "\n".join([*lines, "", SHARED_ATTENTION, ""])


def index_table(rows: Iterable[tuple[str, Tasks]], embedded: bool) -> list[str]:
    """One line per page."""
    body = []
    for name, tasks in rows:
        stands = unique(task.stands_in_for for task in tasks) if embedded else unique(stand_ins(tasks))
        metrics = unique(f"`{task.metric}`" for task in tasks)
        body.append((f"[{name}]({name}.md)", names(tasks), ", ".join(metrics), ", ".join(stands)))
    return table(("page", "tasks", "metric", "stands in for" if embedded else "embedded stand-in"), body)


def stand_ins(tasks: Tasks) -> list[str]:
    """Links to the embedded tasks that stand in for any of `tasks`."""
    return [
        f"[`{name}`]({page_of(TASKS[name])})"
        for name in TASKS
        if TASKS[name].embedded and any(stands_for(TASKS[name], task) for task in tasks)
    ]


def stands_for(embedded: type[Task], task: type[Task]) -> bool:
    """Whether an embedded task names the data set of `task`."""
    return not task.embedded and re.match(re.escape(embedded.stands_in_for) + r"($|,| \()", task.title) is not None


def page_of(task: type[Task]) -> str:
    """The file of a task's page."""
    return task.__module__.rpartition(".")[2] + ".md"


# -- a page --------------------------------------------------------------------------------------------------


def page(name: str, tasks: Tasks) -> str:
    """All that is to be known of the tasks of one file."""
    first = tasks[0]
    title, _, body = (inspect.getdoc(sys.modules[first.__module__]) or "").partition("\n\n")
    heading = f"{first.title} (`{first.name}`)" if len(tasks) == 1 else f"`{name}`: {len(tasks)} tasks"
    lines = [f"# {heading}", "", plain(title), *(["", plain(body)] if body else [])]
    for section in (the_tasks, the_data, the_layout, the_splits, the_models, the_recipes, the_stand_ins, the_commands):
        title, content = section(tasks)
        if content:
            lines += ["", f"## {title}", "", *content]
    return "\n".join([*lines, ""])


def the_tasks(tasks: Tasks) -> tuple[str, list[str]]:
    rows = [
        (
            f"`{task.name}`",
            task.title,
            summary(task),
            f"`{task.metric}`",
            chance(task),
            count(task.train_examples),
        )
        for task in tasks
    ]
    columns = ("task", "title", "what is scored", "metric", "chance", "training examples")
    notes = ["", "Chance is the metric of a constant answer. Scores are reported in percent."]
    return "Metric", [*table(columns, rows), *notes, *details(tasks)]


def chance(task: type[Task]) -> str:
    """The metric of a constant answer; a share of right answers is never 0, so that means it is not known."""
    return f"{task.chance:.4g}" if task.chance or task.metric in ("map", "matthews", "pearson") else "not stated"


def details(tasks: Tasks) -> list[str]:
    """What class docstrings say beyond their first sentence, the shared base included."""
    told: list[str] = []
    for cls in dict.fromkeys(cls for task in tasks for cls in task.__mro__):
        if not issubclass(cls, Task) or cls is Task or "__doc__" not in vars(cls):
            continue
        body = (inspect.getdoc(cls) or "").partition("\n\n")[2].partition("Class attributes:")[0].strip()
        if body:
            own = f"`{cls.name}`: " if cls in tasks and len(tasks) > 1 else ""
            told += ["", own + plain(body)]
    return told


def the_data(tasks: Tasks) -> tuple[str, list[str]]:
    lines = [f"- modality: {tasks[0].modality}", *grouped("input of a model", tasks, inputs)]
    lines += grouped("source", tasks, lambda task: task.source)
    lines += grouped("licence", tasks, lambda task: task.licence)
    if extra := tasks[0].extra:
        lines.append(
            f"- optional extra: `pip install 'bibench[{extra}]'`; without it, cells are left out with that reason"
        )
    if section := NOTES.get(tasks[0].modality):
        lines.append(f"- how it is read and changed: [data.md](../data.md#{section})")
    return "Data", lines


def grouped(what: str, tasks: Tasks, value: Any) -> list[str]:
    """One line where the tasks agree, else one for each answer."""
    answers: dict[str, list[type[Task]]] = {}
    for task in tasks:
        answers.setdefault(value(task), []).append(task)
    if len(answers) == 1:
        return [f"- {what}: {answer}" for answer in answers]
    return [f"- {what} of {names(group)}: {answer}" for answer, group in answers.items()]


UNITS = {
    "image": "channels, height, width",
    "detection": "channels, short side, long side at most",
    "speech": "channels, mel bands, frames",
    "point cloud": "channels, points",
    "text": "tokens at most",
}


def inputs(task: type[Task]) -> str:
    """The shape of what enters a model, and what its axes are."""
    shape = " × ".join(map(str, task().model_arguments()["input_shape"]))
    return f"{shape} ({UNITS[task.modality]})"


def the_layout(tasks: Tasks) -> tuple[str, list[str]]:
    if tasks[0].embedded:
        if not tasks[0].cache:
            return "On disk", [
                "Nothing: the data is made in memory, the same on every machine. No data root is needed."
            ]
        folders = unique(f"`{task.cache.format(task=task.name)}`" for task in tasks)
        return "On disk", [f"Made once, in the cache (`$BIBENCH_CACHE`): {', '.join(folders)}. No data root is needed."]
    pieces = list(dict.fromkeys(piece for task in tasks for piece in task().layout()))
    rows = [
        (
            f"`{piece.path}`",
            piece.what,
            f"{piece.files:,} `{piece.pattern}`" if piece.files is not None else "",
            f"`{piece.checksum}`" if piece.checksum else "",
            "" if piece.required else "not needed",
        )
        for piece in pieces
    ]
    columns = ("below the data root", "what", "files", "published checksum", "")
    shown = [i for i in range(len(columns)) if i < 2 or any(row[i] for row in rows)]
    lines = table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows])
    for task in tasks:
        if published := getattr(task, "corrupted", None):
            lines += [
                "",
                f"Its published corrupted test set, {published.folder}, is looked for in `{published.folder}/` "
                f"({published.record}, {published.licence}); `bibench data check {published.name}` tells what of it is "
                "there, [corruption robustness](../corruption_robustness.md) what it serves for.",
            ]
    return "On disk", lines


def the_splits(tasks: Tasks) -> tuple[str, list[str]]:
    splits = tasks[0]().splits()
    if "validation" in splits:
        rule = "The validation split is only watched: it is judged after every epoch and chooses nothing."
    else:
        rule = "There is no validation split: all of the training data is trained on."
    listed = ", ".join(f"`{split}`" for split in splits)
    end = "The weights after the last epoch are those judged, and the test split serves for nothing else."
    return "Splits", [f"{listed}. {rule} {end}"]


def the_models(tasks: Tasks) -> tuple[str, list[str]]:
    rows = []
    for text in unique(text for task in tasks for text in task.models):
        task = next(task for task in tasks if text in task.models)
        entry = MODELS[choice(text).name]
        rows.append((f"`{text}`", count(parameters(task, text)), entry.paper))
    lines = table(("architecture", "parameters", "from"), rows)
    if len(tasks) > 1:
        lines += ["", f"Parameters are those for `{tasks[0].name}`; the last layer differs with the number of classes."]
    if any(MODELS[choice(text).name].family == "transformer" for task in tasks for text in task.models):
        lines += ["", SHARED_ATTENTION]
    return "Architectures", lines


def parameters(task: type[Task], text: str) -> int:
    """Number of parameters of the full-precision model."""
    chosen = choice(text)
    with torch.device("meta"):
        made = task().for_model(chosen.name).model(chosen.name, chosen.options)
    return sum(p.numel() for p in made.parameters())


def the_recipes(tasks: Tasks) -> tuple[str, list[str]]:
    groups: dict[tuple[str, str, Recipe], Tasks] = {}
    for task in tasks:
        for name, recipe in task.recipes.items():
            groups.setdefault((name, "", recipe), []).append(task)
        for model, own in task.model_recipes.items():
            for name, recipe in own.items():
                groups.setdefault((name, model, recipe), []).append(task)
    known = [key[2] for key in groups]
    shown = [f.name for f in fields(Recipe) if f.name in ALWAYS or matters(f.name, f.default, known)]
    rows = []
    for (name, model, recipe), group in sorted(
        groups.items(), key=lambda item: list(tasks[0].recipes).index(item[0][0])
    ):
        title = f"`{name}`" + (f" of `{model}`" if model else "")
        cells = [cell(attribute, getattr(recipe, attribute)) for attribute in shown]
        rows.append([title, *([names(group)] if differing(tasks) else []), *cells])
    head = ["recipe", *(["tasks"] if differing(tasks) else []), *map(column, shown)]
    after = [
        *(
            f"\n`{task.name}` is trained as `{task.trained_as}`: one training serves both "
            "([records.md](../records.md#one-training-for-two-tasks))."
            for task in tasks
            if task.trained_as
        ),
        "",
        "Recipes take options on the command line: `--recipe 'quick[epochs=2]'` (results are then *open division*).",
    ]
    return "Recipes", [*table(head, rows), *after]


def matters(attribute: str, default: Any, recipes: Sequence[Recipe]) -> bool:
    """Whether any recipe has something of its own there that takes effect."""
    if attribute == "milestones":
        return any(r.schedule == "step" or "milestones" in dict(r.fp32) for r in recipes) and any(
            r.milestones != default for r in recipes
        )
    return any(getattr(recipe, attribute) != default for recipe in recipes)


def differing(tasks: Tasks) -> bool:
    """Whether the tasks of a page have recipes of their own."""
    return any((task.recipes, task.model_recipes) != (tasks[0].recipes, tasks[0].model_recipes) for task in tasks)


def column(attribute: str) -> str:
    """The name of a column of the table of recipes."""
    named = {"fp32": "full-precision stage", "lr": "learning rate", "grid": "study", "init": "starts from"}
    return named.get(attribute, attribute.replace("_", " "))


def cell(attribute: str, value: Any) -> str:
    """A value of a recipe as text."""
    if attribute == "fp32":
        return ", ".join(f"{name} {setting}" for name, setting in value) or "the same"
    if attribute == "grid":
        return f"{len(value)} settings" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def the_stand_ins(tasks: Tasks) -> tuple[str, list[str]]:
    if not tasks[0].embedded:
        links = unique(stand_ins(tasks))
        return "Embedded stand-in", [
            f"{', '.join(links)}: the same form without download; its page compares."
        ] if links else []
    lines = []
    for task in tasks:
        real = next(TASKS[name] for name in TASKS if stands_for(task, TASKS[name]))
        rows = [(what, *map(value, (task, real))) for what, value in COMPARED.items()]
        lines += [*table(("", f"`{task.name}`", f"[{real.title}]({page_of(real)}) (`{real.name}`)"), rows), ""]
    return ("How it differs" if len(tasks) == 1 else "How they differ") + " from the original", lines[:-1]


COMPARED = {
    "training examples": lambda task: count(task.train_examples),
    "classes": lambda task: str(task().model_arguments()["num_classes"]) if not regression(task) else "none, a number",
    "input": inputs,
    "metric": lambda task: f"`{task.metric}`",
    "chance": chance,
    "data": lambda task: plain(task.source),
}


def regression(task: type[Task]) -> bool:
    """Whether a number is predicted instead of a class."""
    return getattr(task, "num_classes", None) == 0


def the_commands(tasks: Tasks) -> tuple[str, list[str]]:
    named = [task.name for task in tasks]
    root = "" if tasks[0].embedded else " --data-root ~/data"
    suite = next((s for s in ("paper", "embedded", "quick") if set(named) & set(SUITES[s].tasks)), None)
    trained = [name for name in named if suite and name in SUITES[suite].tasks]
    lines = ["```sh", f"bibench data check {' '.join(named)}{root}"]
    if trained:
        lines.append(f"bibench run {suite} --tasks {','.join(trained)}{root}")
    lines.append("```")
    if rest := [name for name in named if name not in trained]:
        listed = ", ".join(f"`{name}`" for name in rest)
        lines += ["", f"No suite has {listed}; a file of your own, here `mine.py`, does:", "", *own_suite(rest, root)]
    return "Check and run", lines


def own_suite(named: Sequence[str], root: str) -> list[str]:
    """A suite of these tasks, and the command that runs it."""
    tasks = "".join(f'"{name}", ' for name in named).rstrip(" ")
    code = ["from bibench.suite.definition import Suite, suite", "", "", "@suite", "def mine():"]
    code += [f'    return Suite(name="mine", description="of my own", tasks=({tasks}), recipe="quick")']
    return ["```python", *code, "```", "", "```sh", f"bibench run mine --load mine.py{root}", "```"]


# -- text ----------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [
        *lines,
        *("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows),
    ]


def names(tasks: Tasks) -> str:
    """Names of tasks in a line."""
    return ", ".join(f"`{task.name}`" for task in tasks)


def unique(items: Iterable[str]) -> list[str]:
    """Items without repetitions, in order."""
    return list(dict.fromkeys(items))


def count(number: int) -> str:
    """A number with separators."""
    return f"{number:,}"


def summary(task: type[Task]) -> str:
    """The first paragraph of the class docstring, or of the nearest base that says what is scored."""
    return plain((inspect.getdoc(task) or "").partition("\n\n")[0]).replace("\n", " ")


def plain(text: str) -> str:
    """Docstring text as Markdown."""
    return text.replace("``", "`").strip()
