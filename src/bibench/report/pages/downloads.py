"""Every table as CSV, Markdown and LaTeX, every figure as the site has it."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.report.blocks import Cell, Column, Heading, Table, Text
from bibench.report.material import Material
from bibench.report.page import Document, page

HREF = "downloads.html"


@page("downloads", label="Downloads", order=900, href=HREF)
def downloads(material: Material) -> Iterator[Document]:
    """downloads.html; built last, when all tables and figures are known."""
    tables = [
        [Cell(caption), Cell("page", href=where), *(Cell(f, href=f"tables/{name}.{f}") for f in ("csv", "md", "tex"))]
        for name, caption, where in material.tables
    ]
    kinds = ("svg", "png") if material.figure_files else ()
    figures = [
        [Cell(title), Cell("page", href=where), *(Cell(f, href=f"figures/{name}.{f}") for f in kinds)]
        for name, title, where in material.figures
    ]
    blocks: list[Heading | Table | Text] = [Heading("Tables", "tables")]
    columns = [Column("table"), Column("shown on"), Column("CSV"), Column("Markdown"), Column("LaTeX")]
    blocks.append(Table("downloads-tables", "Exact values, one row per line", columns, tables, kind="listing"))
    blocks.append(Heading("Figures", "figures"))
    if not kinds:
        blocks.append(Text("The bar over every plot saves it as PNG or SVG; --figures writes files of all of them."))
    columns = [Column("figure"), Column("shown on"), *(Column(k.upper()) for k in kinds)]
    blocks.append(Table("downloads-figures", "Figures by page", columns, figures, kind="listing"))
    yield Document(HREF, "Downloads", "Tables and figures for papers and slides.", blocks)
