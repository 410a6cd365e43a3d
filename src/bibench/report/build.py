"""Builds the site: every page to a file, every table to its exports, all of it or nothing."""

from __future__ import annotations

import datetime
import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bibench.foundation.errors import StoreError, require
from bibench.foundation.files import scratch_beside
from bibench.foundation.locks import exclusive
from bibench.foundation.visible import visible
from bibench.records.flags import IN_FORCE, Marks
from bibench.records.provenance import versions
from bibench.report import images, placing, tables
from bibench.report.blocks import Block, Cell, Figure, Links, Multiples, Table, Text
from bibench.report.figures import spec
from bibench.report.material import Material
from bibench.report.page import Document, Page, pages
from bibench.report.palette import SCHEMES
from bibench.report.placing import take_place as _take_place

MARKER = "report.json"
"""Only a folder with this file is a report and may be replaced by one."""

HERE = Path(__file__).parent
SAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


@dataclass
class Summary:
    """What was written."""

    folder: Path
    pages: int = 0
    tables: int = 0
    figures: int = 0
    images: int = 0


def build(
    material: Material, out: Path, *, figures: bool = False, note: Callable[[str], None] = lambda text: None
) -> Summary:
    """Build the site of `material` in the folder `out`, replacing a report that is there.

    Everything is written into a folder beside it, which takes its place at the end: whoever is reading the
    old report, and whatever goes wrong, there is always a whole one (`placing`). What a build that was killed left is
    removed by the next one; two at once would build in each other's place, so that the second waits, and gives up after
    a minute. With `figures`, every figure is also drawn to SVG and PNG, which takes Chrome and about a second each.
    """
    require("jinja2", extra="bench", purpose="the report")
    require("plotly", extra="bench", purpose="the report")
    if figures:
        images.check()
    check_target(out)
    place = out.resolve()  # "." has no name that it could be given another for
    with exclusive(place), _writing(out):
        placing.recover(place)
        check_target(out)
        scratch = scratch_beside(place)
        scratch.mkdir()
        try:
            with marks_of(material):  # exports are marked as well
                summary = _Site(material, scratch, figures, note).write()
            _take_place(scratch, place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    summary.folder = out
    return summary


def check_target(out: Path) -> None:
    """Raise `StoreError` unless `out` is free, an empty folder, or a report."""
    if out.is_dir() and not out.is_symlink():
        if (out / MARKER).is_file() or next(out.iterdir(), None) is None:
            return
        raise StoreError(
            f"-o {out}: the folder holds something else than a report, which is not overwritten; name another"
        )
    if out.exists() or out.is_symlink():
        raise StoreError(f"-o {out}: there is a file or link of this name; name a folder")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Errors of the disk as one `StoreError` that names the fix."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        fix = "the disk is full; free space" if full else "choose a folder that can be written (-o)"
        raise StoreError(f"cannot write the report {out} ({error.strerror or error}): {fix}") from error


@dataclass
class _Site:
    """The files of one report while they are written."""

    material: Material
    root: Path
    figures: bool
    note: Callable[[str], None]
    _taken: set[tuple[str, str]] = field(default_factory=set)
    _specs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self) -> Summary:
        self.material.figure_files = self.figures
        self._marks = IN_FORCE.get()
        self._summary = Summary(self.root)
        self._navigation: list[Page] = pages()
        self._environment = _templates()
        self._assets()
        for page in self._navigation:
            self.note(page.label)
            for document in page.build(self.material):
                self._document(page, document)
        if self.figures:
            self.note(f"{len(self._specs)} figures as SVG and PNG")
            self._summary.images = images.write(self._specs, self.root / "figures")
        self._summary.tables, self._summary.figures = len(self.material.tables), len(self.material.figures)
        facts = {"made": self._made, "bibench": versions()["bibench"], "records": len(self.material.records)}
        (self.root / MARKER).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        return self._summary

    @property
    def _made(self) -> str:
        return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def _assets(self) -> None:
        from plotly.offline import get_plotlyjs

        folder = self.root / "assets"
        folder.mkdir()
        (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")
        (folder / "report.js").write_text((HERE / "assets" / "report.js").read_text("utf-8"), encoding="utf-8")
        style = colours() + (HERE / "assets" / "report.css").read_text("utf-8")
        (folder / "report.css").write_text(style, encoding="utf-8")

    def _document(self, page: Page, document: Document) -> None:
        doubts = [Text(note, "warning") for note in self._marks.summary]
        blocks = [*doubts, *(self._entered(block, document.path) for block in document.blocks)]
        drawn = any(block.kind in ("figure", "multiples") for block in blocks)
        path = self.root / document.path
        path.parent.mkdir(parents=True, exist_ok=True)
        template = self._environment.get_template("page.html.j2")
        context = {
            "page": page,
            "document": document,
            "blocks": blocks,
            "drawn": drawn,
            "navigation": self._navigation,
            "root": "../" * document.path.count("/"),
            "made": self._made,
            "version": versions()["bibench"],
            "figure_files": self.figures,
        }
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(template.generate(context))
        self._summary.pages += 1

    def _entered(self, block: Block, path: str) -> Block:
        """The block with a name of its own in the site, its exports written."""
        if isinstance(block, Multiples):
            return Multiples([self._figure(figure, path) for figure in block.figures])
        if isinstance(block, Figure):
            return self._figure(block, path)
        if isinstance(block, Links):
            return replace(block, items=[(self._marks.name(label), href, about) for label, href, about in block.items])
        if not isinstance(block, Table):
            return block
        block = marked(block, self._marks)
        return self._table(block, path) if block.kind != "listing" else block

    def _figure(self, figure: Figure, path: str) -> Figure:
        figure = replace(figure, id=self._free("figures", figure.id))
        self.material.figures.append((figure.id, figure.title, path))
        if self.figures:
            self._specs[figure.id] = spec(figure)
        return figure

    def _table(self, table: Table, path: str) -> Table:
        table = replace(table, id=self._free("tables", table.id))
        folder = self.root / "tables"
        folder.mkdir(exist_ok=True)
        for ending, text in exports(table).items():
            (folder / f"{table.id}.{ending}").write_text(text, encoding="utf-8", errors="backslashreplace")
        self.material.tables.append((table.id, table.caption, path))
        return table

    def _free(self, kind: str, name: str) -> str:
        """`name`, or with a number when the site has it already."""
        free, count = name, 1
        while (kind, free) in self._taken:
            count += 1
            free = f"{name}-{count}"
        self._taken.add((kind, free))
        return free


@contextmanager
def marks_of(material: Material) -> Iterator[None]:
    """Inside, what is exported is marked as the pages of `material` are."""
    before = IN_FORCE.set(Marks(material.records, material.title))
    try:
        yield
    finally:
        IN_FORCE.reset(before)


def marked(table: Table, marks: Marks) -> Table:
    """With the signs and footnotes of operators in doubt (`bibench.records.flags`)."""
    shown = [cell.shown for row in table.rows for cell in row if isinstance(cell.value, str)]
    notes = marks.footnotes([*(column.name for column in table.columns), *shown])
    if not notes:
        return table
    columns = [replace(column, name=marks.name(column.name)) for column in table.columns]
    rows = [[_marked(cell, marks) for cell in row] for row in table.rows]
    return replace(table, columns=columns, rows=rows, notes=[*table.notes, *notes])


def _marked(cell: Cell, marks: Marks) -> Cell:
    if not isinstance(cell.value, str):
        return cell
    return replace(cell, text=marks.name(cell.shown))


def exports(table: Table) -> dict[str, str]:
    """The table as text by file ending, with exact values."""
    rows = table.plain()
    columns = table.names()
    plain = tables.Table(table.caption, columns, [[row[c] for c in columns] for row in rows])
    documents = {"md": "markdown", "tex": "latex"}
    return {"csv": tables.render(rows, "csv")} | {
        ending: tables.render_tables([plain], format) for ending, format in documents.items()
    }


def colours() -> str:
    """The palette as variables of CSS: the reader's choice first, else what the system prefers."""
    light, dark = (";".join(f"--c-{name}:{value}" for name, value in SCHEMES[s].items()) for s in ("light", "dark"))
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def _templates() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["spec"] = embedded
    environment.filters["shown"] = shown
    return environment


def embedded(figure: Figure) -> Any:
    """The figure's data as JSON that cannot end the element it stands in."""
    from markupsafe import Markup

    return Markup(json.dumps(spec(figure), allow_nan=False, separators=(",", ":")).translate(SAFE))


def shown(value: object) -> str:
    """A record's value for reading: numbers to six digits."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
