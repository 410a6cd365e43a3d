"""What narrows a suite, or what lies in a run folder, to some of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bibench.foundation.choice import choice

if TYPE_CHECKING:
    from bibench.suite.cell import Cell


@dataclass(frozen=True)
class Filters:
    """What the command line narrows a suite to; empty means everything.

    Operators and models may carry options (``recu[scale_init=weight]``) or be new to the suite. A recipe
    of a name that the suite has keeps those of the suite's that it does not contradict, and its further
    options are added to each; any other recipe takes the place of all of them.

    Attributes:
        tasks: names of tasks.
        models: names of models.
        operators: names of operators.
        seeds: the seeds.
        recipe: a recipe; None for all.
    """

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    operators: Sequence[str] = ()
    seeds: Sequence[int] = ()
    recipe: str | None = None

    def include(self, cell: Cell) -> bool:
        """Whether they name a cell that exists: each with any further options, full precision under every operator.

        Args:
            cell: of the suite.

        Raises:
            BiBenchError: a name that cannot be read as one with options.
        """
        operators = () if cell.full_precision else self.operators
        recipes = (self.recipe,) if self.recipe else ()
        axes = (
            *((self.tasks, cell.task), (self.models, cell.model)),
            *((operators, cell.operator), (recipes, cell.recipe)),
        )
        fitting = all(not names or any(have.fits(choice(name)) for name in names) for names, have in axes)
        return fitting and (not self.seeds or cell.seed in self.seeds)
