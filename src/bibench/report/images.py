"""Figures as SVG and PNG files, drawn by Kaleido, which drives Chrome or Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bibench.foundation.errors import BiBenchError, require
from bibench.report.palette import resolve

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
WIDTH, PIXELS = 800, 2


def browser() -> str | None:
    """The browser that draws: ``$BROWSER_PATH``, or the first one found."""
    given = os.environ.get("BROWSER_PATH")
    return given or next((path for name in BROWSERS if (path := shutil.which(name))), None)


def check() -> None:
    """Raise an error that names the fix unless figures can be drawn here."""
    require("kaleido", extra="figures", purpose="--figures")
    if browser() is None:
        raise BiBenchError(
            "--figures draws with Chrome or Chromium, and none was found; install one, or set BROWSER_PATH to it "
            "(the bar over every plot saves it without)"
        )


def write(specs: Mapping[str, dict[str, Any]], folder: Path) -> int:
    """Write NAME.svg and NAME.png of every figure, in the light scheme on white; how many files."""
    import plotly.io

    folder.mkdir(exist_ok=True)
    os.environ.setdefault("BROWSER_PATH", browser() or "")
    figures, files, widths, heights, scales = [], [], [], [], []
    for name, figure in specs.items():
        drawn = resolve(figure)
        drawn["layout"] |= {"paper_bgcolor": "#ffffff", "plot_bgcolor": "#ffffff"}
        for ending, scale in (("svg", 1), ("png", PIXELS)):
            figures.append(drawn)
            files.append(str(folder / f"{name}.{ending}"))
            widths.append(WIDTH)
            heights.append(drawn["layout"]["height"])
            scales.append(scale)
    if figures:
        plotly.io.write_images(figures, files, width=widths, height=heights, scale=scales)
    if missing := [file for file in files if not Path(file).is_file()]:
        raise BiBenchError(f"--figures: the browser did not draw {Path(missing[0]).name} and {len(missing) - 1} others")
    return len(files)
