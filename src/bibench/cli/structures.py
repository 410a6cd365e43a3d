"""``bibench measure structures``: the binarization error of local structures (appendix A.7)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING, Annotated

import typer

from bibench.cli.options import Format, Load, Operators, check_format, flat, load_files, positive_numbers
from bibench.cli.output import console, number, print_csv, print_json, table
from bibench.cli.vouching import warn
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, UnknownNameError

if TYPE_CHECKING:
    from bibench.measure.local_structures import StructureError


def structures(
    only: Annotated[list[str] | None, typer.Option("--structures", help="Only these: attention, cnn, mlp.")] = None,
    operators: Operators = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="So many random weights and inputs.")] = 3,
    sizes: Annotated[
        list[str] | None, typer.Option("--sizes", help="Tokens, pixels or points (default: the paper's four each).")
    ] = None,
    dims: Annotated[list[str] | None, typer.Option("--dims", help="Widths (default: 64,128,256,512).")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Without normalization, where scales show.")] = False,
    keep_first: Annotated[bool, typer.Option("--keep-first", help="The first unit stays full precision.")] = False,
    by_size: Annotated[bool, typer.Option("--by-size", help="Every size instead of the mean.")] = False,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Relative error of binarizing a bottleneck, self-attention and an MLP with random weights (Eq. 41)."""
    from bibench.contracts.loaded import used
    from bibench.measure.local_structures import DIMENSIONS, STRUCTURES, structure_errors
    from bibench.operators import OPERATORS, known_operators

    check_format(format)
    loaded = load_files(load)
    names = flat(only) or list(STRUCTURES)
    if unknown := [name for name in names if name not in STRUCTURES]:
        raise UnknownNameError(f"--structures: no structure {unknown[0]!r}; choose from {', '.join(STRUCTURES)}")
    chosen = [choice(o) for o in flat(operators) or known_operators()]
    for operator in chosen:
        OPERATORS[operator.name].check_options(operator.options)
    chosen = [o for o in chosen if not OPERATORS[o.name].full_precision]
    if not chosen:
        raise BiBenchError("--operators: name at least one operator that binarizes")
    warn(used(chosen), loaded)
    news = console(stderr=True)
    rows: list[StructureError] = []
    for name in names:
        rows += structure_errors(
            STRUCTURES[name],
            chosen,
            seeds=range(draws),
            sizes=positive_numbers("--sizes", sizes, "64,128") or None,
            dimensions=positive_numbers("--dims", dims, "64,128") or DIMENSIONS,
            normalized=not bare,
            keep_first=keep_first,
            note=lambda text: news.print(text, markup=False),
        )
    if format == "json":
        print_json([row.to_dict() for row in rows])
    elif format == "csv":
        print_csv([row.to_dict() for row in rows])
    elif by_size:
        _print_sizes(rows)
    else:
        _print_means(rows)


def _print_means(rows: Sequence[StructureError]) -> None:
    structures = list(dict.fromkeys(row.structure for row in rows))
    lines = [["BNN, as published", *(_mean([r.published for r in rows if r.structure == s]) for s in structures), ""]]
    for operator in dict.fromkeys(row.operator for row in rows):
        own = [row for row in rows if row.operator == operator]
        reason = next((row.reason for row in own if row.reason), "")
        lines.append([operator, *(_mean([r.error for r in own if r.structure == s]) for s in structures), reason])
    seeds = max(row.seeds for row in rows)
    title = f"Relative error ‖f - f̂‖₁ / ‖f‖₁ (Eq. 41), mean over sizes, dimensions and {seeds} seed(s)"
    console().print(table(title, ("operator", *structures, "note"), lines, numeric=structures))


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return number(mean(known) if known else None, 3)


def _print_sizes(rows: Sequence[StructureError]) -> None:
    operators = list(dict.fromkeys(row.operator for row in rows))
    for structure in dict.fromkeys(row.structure for row in rows):
        found = {(r.size, r.dim, r.operator): r for r in rows if r.structure == structure}
        lines = [
            [
                size,
                dim,
                number(found[size, dim, operators[0]].published, 2),
                *(number(found[size, dim, o].error, 3) for o in operators),
            ]
            for size, dim in dict.fromkeys((size, dim) for size, dim, _ in found)
        ]
        columns = ("size", "dimension", "BNN, as published", *operators)
        console().print(table(f"{structure}: relative error (Eq. 41)", columns, lines, numeric=columns))
