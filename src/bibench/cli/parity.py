"""What ``bibench verify`` prints of a comparison: each 1-bit layer, then the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from bibench.cli.output import table

if TYPE_CHECKING:
    from bibench.deploy.parity import LayerParity, Parity

COLUMNS = ("layer", "integer products", "signs", "flips", "of them first", "margin")


def print_parity(out: Console, report: Parity) -> None:
    """A row for each layer that the engine tells of (none in files of full precision), and the summary."""
    rows = [
        (layer.layer, _products(layer), layer.signs, layer.flips, layer.origins, _margin(layer))
        for layer in report.layers
    ]
    if rows:
        out.print(table(f"Parity of {report.engine} with the training graph", COLUMNS, rows, numeric=COLUMNS[2:]))
    out.print(report.summary())


def _products(layer: LayerParity) -> str:
    if layer.product_difference is None:
        return "?"
    return f"off by {layer.product_difference:g}" if layer.product_difference else "equal"


def _margin(layer: LayerParity) -> str:
    if not layer.flips:
        return ""
    return f"{layer.margin:.2g}{'' if layer.explained else ' (more than rounding)'}"
