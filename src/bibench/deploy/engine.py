"""What an engine is: what it supports and why not, how it writes, loads and runs a model file.

An engine is one file in `deploy/engines/`:

    @engine("mine")
    class Mine(Engine):
        title, extension = "My engine", ".bin"

        def refusal(self, layer):            # from what the layer states; "" if it runs
            return "no activation scale" if layer.form and layer.form.activation_scale else ""

        def convert(self, canonical, calibration=None): ...   # bytes of the file
        def load(self, path, threads=1): ...                  # anything `run` takes
        def run(self, loaded, inputs): ...                    # arrays in, arrays out
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bibench.deploy.graph import Canonical
from bibench.deploy.statement import Stated, statements
from bibench.foundation.errors import BiBenchError, MissingLibraryError, UnsupportedError
from bibench.foundation.registry import Registry

ENGINES: Registry[type[Engine]] = Registry("engine", "bibench.deploy.engines")
"""The engines by name; `engine` enters one."""

ROUNDING = 1e-5
"""Of floats: differences up to this part of the largest magnitude in a layer or output are rounding."""

Array = NDArray[Any]
Calibration = Iterable[Sequence[Array]]
"""Batches of a model's inputs, for engines that choose ranges by data."""


class Obstacle(NamedTuple):
    """Why one layer of a model does not run on an engine.

    Attributes:
        layer: its name in the model.
        reason: why it does not run.
    """

    layer: str
    reason: str


class LayerValues(NamedTuple):
    """What parity is proved by: of one 1-bit layer what it takes the signs of, and its integer products.

    `inputs` is X, or Q, K, V of an attention, whose product is its output.
    """

    inputs: tuple[Array, ...]
    product: Array


class Engine:
    """Base of all engines.

    Class attributes: `title` for tables; `extension` of the files; `needs_calibration` if `convert`
    must be given data; `exact` if its 1-bit products are those of the training graph; `packed` if its files
    compute them from packed bits, not from ±1 floats; `pad_value` that models for it are to be binarized with.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    extension: ClassVar[str] = ".onnx"
    needs_calibration: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    packed: ClassVar[bool] = True
    pad_value: ClassVar[float] = 0.0

    def available(self) -> str:
        """Why models cannot be run here (a library that is missing, with its install line), or ""."""
        return ""

    def refusal(self, layer: Stated) -> str:
        """Why a binarized layer does not run on this engine, or "". Reads what the layer states, no values.

        Args:
            layer: what a binarized layer states of itself.
        """
        return ""

    def supports(self, model: nn.Module) -> list[Obstacle]:
        """The layers that do not run on this engine, with the reason; empty if all do. The meta device is enough.

        Args:
            model: a binarized one.
        """
        return [
            Obstacle(layer.name, reason)
            for layer in statements(model)
            if (reason := layer.refusal or self.refusal(layer))
        ]

    def prepare(self, canonical: Canonical) -> None:
        """Change a canonical graph in place for this engine, before it is described and converted.

        Args:
            canonical: the graph.
        """

    def notes(self, canonical: Canonical) -> list[str]:
        """What the manifest should tell about a file of this engine.

        Args:
            canonical: the graph, after `prepare`.
        """
        return []

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        """The content of a model file.

        Args:
            canonical: the graph, which `prepare` has seen.
            calibration: batches of inputs, where `needs_calibration`.
        """
        raise NotImplementedError

    def load(self, path: Path, threads: int = 1) -> Any:
        """Open a model file whose checksum was verified; a `BiBenchError` when it is not one.

        Args:
            path: of the model file.
            threads: number of threads to compute with.
        """
        raise NotImplementedError

    def run(self, loaded: Any, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for one batch, in the order and the shapes of the manifest.

        Args:
            loaded: what `load` gave.
            inputs: arrays in the order and the shapes of the manifest, the batch first.
        """
        raise NotImplementedError

    def layer_values(self, path: Path, inputs: Sequence[Array]) -> dict[str, LayerValues] | None:
        """What each 1-bit layer sees and gives in a forward on `inputs`; None if the engine cannot tell.

        Args:
            path: of the model file.
            inputs: arrays in the order and the shapes of the manifest, the batch first.
        """
        return None

    def rounding(self, terms: Sequence[int]) -> float:
        """Up to which part of the largest magnitude a difference from the training graph is rounding.

        `terms`: of each 1-bit layer, how many products one output sums.
        """
        return ROUNDING

    def require(self) -> None:
        """Raise when models cannot be run here.

        Raises:
            MissingLibraryError: with the reason and the fix.
        """
        if reason := self.available():
            raise MissingLibraryError(f"engine {self.name!r}: {reason}")

    def require_support(self, model: nn.Module) -> None:
        """Raise `UnsupportedError` naming the layers that do not run on this engine.

        Args:
            model: a binarized one, in evaluation mode.

        Raises:
            UnsupportedError: with the layers and the reason of each.
        """
        obstacles = self.supports(model)
        if obstacles:
            shown = "; ".join(f"{layer}: {reason}" for layer, reason in obstacles[:3])
            more = f"; and {len(obstacles) - 3} more layers" if len(obstacles) > 3 else ""
            raise UnsupportedError(f"engine {self.name!r} does not run this model: {shown}{more}")


Class = TypeVar("Class", bound=type[Engine])


def engine(name: str) -> Callable[[Class], Class]:
    """Class decorator: enter an `Engine` subclass into the catalogue as `name`.

    Raises:
        BiBenchError: what is decorated is no `Engine` subclass.
    """

    def enter(cls: Class) -> Class:
        if not (inspect.isclass(cls) and issubclass(cls, Engine)):
            raise BiBenchError(f"@engine({name!r}) decorates a subclass of bibench.deploy.engine.Engine, got {cls!r}")
        cls.name = name
        cls.title = cls.title or name
        ENGINES.register(name, cls)
        return cls

    return enter


def check_inputs(expected: Sequence[tuple[str, Sequence[Any], str]], given: Sequence[Array]) -> list[Array]:
    """`given` as contiguous arrays, checked against (name, shape, dtype) of each input; names are open lengths."""
    if len(given) != len(expected):
        names = ", ".join(name for name, *_ in expected)
        raise BiBenchError(f"the model has {len(expected)} inputs ({names}), got {len(given)}")
    checked = []
    for (name, shape, dtype), array in zip(expected, given, strict=True):
        array = np.asarray(array)
        fits = len(array.shape) == len(shape) and all(
            not isinstance(want, int) or want == have for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype != np.dtype(dtype):
            wanted = f"({', '.join(str(n) for n in shape)}) {dtype}"
            raise BiBenchError(f"input {name!r} must be {wanted}, got {array.shape} {array.dtype}")
        checked.append(np.ascontiguousarray(array))
    return checked
