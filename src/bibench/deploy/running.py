"""Any registered engine as a contender: what the bundle asks for where BiBench is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bibench.deploy import manifest
from bibench.deploy.engine import ENGINES, Array
from bibench.deploy.manifest import Tensor
from bibench.foundation.errors import BiBenchError


def runner(contender: Mapping[str, Any], threads: int, batch: int) -> Callable[[], Any]:
    """A function that runs the contender's file once, on inputs of the shapes that its manifest states."""
    engine = ENGINES[contender["engine"]]()
    engine.require()
    path = Path(contender["file"])
    described = manifest.read(path)
    if described is None:
        raise BiBenchError(f"{path.name} has no manifest, which engine {engine.name!r} needs; export the model again")
    inputs = [_array(tensor, batch, contender.get("shapes", {})) for tensor in described.inputs]
    loaded = engine.load(path, threads)
    return lambda: engine.run(loaded, inputs)


def _array(tensor: Tensor, batch: int, shapes: Mapping[str, Any]) -> Array:
    shape = list(shapes.get(tensor.name) or [batch, *tensor.shape[1:]])
    if free := [size for size in shape if not isinstance(size, int)]:
        raise BiBenchError(f"input {tensor.name!r} has free axes {', '.join(map(str, free))}; give --input-shapes")
    if not np.issubdtype(np.dtype(tensor.dtype), np.floating):
        return np.ones(shape, tensor.dtype)
    return np.random.default_rng(0).standard_normal(shape).astype(tensor.dtype)
