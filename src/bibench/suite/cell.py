"""A cell: one training, task × model × operator × recipe × seed. What the user chose, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError
from bibench.foundation.plain import plain, shown
from bibench.foundation.typed_json import problem
from bibench.operators.names import FULL_PRECISION
from bibench.suite.known import answer

if TYPE_CHECKING:
    from bibench.recipes.recipe import Recipe


class Described(TypedDict):
    """A cell in JSON."""

    task: str
    model: str
    operator: str
    recipe: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """The identity of one training; equal cells share a directory and a result.

    Raises `BiBenchError` naming the field that is not of its type; an integer of NumPy becomes Python's.
    """

    task: Choice
    model: Choice
    operator: Choice
    recipe: Choice
    seed: int

    def __post_init__(self) -> None:
        for name in ("task", "model", "operator", "recipe"):
            if not isinstance(value := getattr(self, name), Choice):
                raise BiBenchError(f"cell: {name} is {shown(value)}, expected what bibench.foundation.choice gives")
        if type(seed := plain(self.seed)) is not int:
            raise BiBenchError(f"cell: seed is {shown(self.seed)}, expected a whole number")
        object.__setattr__(self, "seed", seed)

    @property
    def full_precision(self) -> bool:
        """Whether this is a full-precision baseline."""
        return answer(self.operator.name, "full precision", self._full_precision)

    def _full_precision(self) -> bool:
        from bibench.comparators.compressor import method

        return method(self.operator.name).full_precision

    @property
    def baseline(self) -> Cell | None:
        """The full-precision cell this one is measured against (None for a baseline itself)."""
        return None if self.full_precision else replace(self, operator=Choice(FULL_PRECISION))

    @property
    def trained_as(self) -> Cell | None:
        """The cell of the task that this one's is trained as (`Task.trained_as`), if the recipe is the same there."""
        found = answer(str(self), "trained as", self._trained_as)
        return None if found is None else Cell.from_dict(found)

    def _trained_as(self) -> dict[str, Any] | None:
        from bibench.tasks import TASKS

        name = TASKS[self.task.name].trained_as
        if not name:
            return None
        if TASKS[name].trained_as:
            raise BiBenchError(
                f"task {self.task.name!r}: trained_as must name a task with a training of its own; got {name!r}, "
                f"which is trained as {TASKS[name].trained_as!r}"
            )
        other = replace(self, task=Choice(name))
        alike = self.recipe.name in TASKS[name].recipes and other.resolved_recipe() == self.resolved_recipe()
        return other.to_dict() if alike else None

    @property
    def marks(self) -> tuple[str, ...]:
        """The flags that what it is made of puts on its records (`Registry.mark`)."""
        from bibench.comparators.compressor import COMPRESSORS
        from bibench.models import MODELS
        from bibench.operators import OPERATORS
        from bibench.tasks import TASKS

        kind = COMPRESSORS if self.operator.name in COMPRESSORS else OPERATORS
        tasks = [name for name in (self.task.name, TASKS[self.task.name].trained_as) if name]
        named = (kind.marks(str(self.operator)), MODELS.marks(str(self.model)), *map(TASKS.marks, tasks))
        return tuple(dict.fromkeys(flag for flags in named for flag in flags))

    @property
    def path(self) -> Path:
        """Directory of the cell, relative to the run folder."""
        parts = (self.task, self.model, self.operator, self.recipe)
        return Path(*(part.path_name for part in parts), f"seed{self.seed}")

    def resolved_recipe(self) -> Recipe:
        """The recipe as this cell trains it."""
        recipe = self._named_recipe.with_options(self.recipe.options)
        return recipe.for_operator(self.full_precision).without_grid()

    @property
    def _named_recipe(self) -> Recipe:
        from bibench.tasks import TASKS

        return TASKS[self.task.name].recipe(self.recipe.name, self.model.name)

    @property
    def division(self) -> str:
        """``closed`` when trained as the benchmark prescribes, ``open`` when the recipe was changed."""
        from bibench.recipes.recipe import division_of

        return division_of(self._named_recipe, self.recipe)

    @property
    def study(self) -> Choice | None:
        """The study over a grid of settings that this training belongs to, if any."""
        found = answer(str(self), "study", self._study)
        return None if found is None else choice(found)

    def _study(self) -> str | None:
        from bibench.recipes.recipe import study_of

        found = study_of(self._named_recipe, self.recipe)
        return None if found is None else str(found)

    @property
    def starts_from_baseline(self) -> bool:
        """Whether the training needs the weights of the full-precision cell."""
        return answer(str(self), "starts from baseline", self._starts_from_baseline)

    def _starts_from_baseline(self) -> bool:
        recipe = self.resolved_recipe()
        return not self.full_precision and (recipe.init == "fp32" or recipe.distillation != "none")

    def validate(self) -> None:
        """Raise for unknown names and options, without building anything."""
        answer(str(self), "valid", self._validate)

    def _validate(self) -> bool:
        from bibench.comparators.compressor import method
        from bibench.models import MODELS

        _ = self.trained_as  # looks up the task, and the one it is trained as
        MODELS[self.model.name].check_options(self.model.options)
        method(self.operator.name).check_options(self.operator.options)
        self.resolved_recipe()
        return True

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        names = ("task", "model", "operator", "recipe")
        return {**{name: str(getattr(self, name)) for name in names}, "seed": self.seed}

    @classmethod
    def from_dict(cls, data: Any) -> Cell:
        """The inverse of `to_dict`; `BiBenchError` for anything else."""
        if wrong := problem(data, Described, "cell"):
            raise BiBenchError(f"not the description of a cell: {wrong}")
        try:
            task, model, operator, recipe = (choice(data[name]) for name in ("task", "model", "operator", "recipe"))
        except BiBenchError as error:
            raise BiBenchError(f"not the description of a cell: {error}") from error
        return cls(task, model, operator, recipe, data["seed"])

    def __str__(self) -> str:
        return f"{self.task} {self.model} {self.operator} {self.recipe} seed {self.seed}"
