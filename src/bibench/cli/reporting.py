"""``bibench report``: a site of all tracks from records, that works offline in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bibench.cli.marking import marked
from bibench.cli.options import (
    Load,
    Protocol,
    RecordsOf,
    filtered,
    load_files,
    records_of,
)
from bibench.cli.output import console, notes
from bibench.suite.filters import Filters
from bibench.tracks.base import BIBENCH, check_protocol


@filtered
def report(
    runs: RecordsOf = None,
    out: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the site; an older report there is replaced.")
    ] = Path("site"),
    against: Annotated[
        list[Path] | None, typer.Option("--against", help="Records to compare with: published, or run folders.")
    ] = None,
    protocol: Protocol = BIBENCH,
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write every figure as SVG and PNG (takes Chrome or Chromium).")
    ] = False,
    *,
    wanted: Filters,
    load: Load = None,
) -> None:
    """Build the report of some records: a folder of pages to open in a browser."""
    from bibench.cli.planned import plan_of
    from bibench.cli.scoring import read_runs, select, some
    from bibench.report.build import build, check_target
    from bibench.report.material import Material

    load_files(load)
    check_protocol(protocol)
    check_target(out)
    runs = records_of(runs)
    records = some(read_runs(runs), runs)
    plan = plan_of(runs, None, wanted, None)
    material = Material(
        marked(select(records, wanted), plan),
        runs=[run for run in runs if run.is_dir()],
        against=read_runs(against) if against else (),
        protocol=protocol,
        plan=plan,
        against_name=", ".join(map(_called, against or ())),
    )
    news = console(stderr=True)
    with notes():
        made = build(material, out, figures=figures, note=lambda text: news.print(f"  {text}", markup=False))
    files = f", {made.images} image files" if made.images else ""
    console().print(
        f"{made.folder / 'index.html'}: {made.pages} pages, {made.tables} tables (CSV, Markdown, LaTeX), "
        f"{made.figures} figures{files}, from {len(material.records)} records.",
        markup=False,
    )


def _called(path: Path) -> str:
    return "the paper" if str(path) == "published" else path.name or str(path)
