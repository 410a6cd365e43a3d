"""Larq Compute Engine: TensorFlow Lite files with its 1-bit convolution, written without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bibench.deploy import manifest
from bibench.deploy.engine import ROUNDING, Array, Calibration, Engine, LayerValues, check_inputs, engine
from bibench.deploy.graph import Canonical
from bibench.deploy.statement import Stated
from bibench.deploy.tflite import file
from bibench.deploy.tflite.graph import Graph
from bibench.deploy.tflite.interpreter import Interpreter, Kernel, missing
from bibench.deploy.tflite.probing import in_order, probed, products
from bibench.deploy.tflite.translating import LAYERS, LAYOUTS, TO_LAST, translate
from bibench.errors import BiBenchError, MissingLibraryError

NO_KIND = {
    "attention": "no operator multiplies two binarized activations",
    "embedding": "no operator looks up packed rows",
}


@engine("larq")
class Larq(Engine):
    """Runs on ARM with hand-written kernels; on x86 its kernels are portable C++, which say nothing of its speed.

    Args:
        kernel, xnnpack: of the interpreter, see `Interpreter`.
    """

    title = "Larq Compute Engine"
    extension = ".tflite"
    note = "the batch is 1 in the file, as Larq Compute Engine's benchmark runs it; more examples run one by one"

    def __init__(self, kernel: Kernel = "optimized", xnnpack: bool = True) -> None:
        self.kernel, self.xnnpack = kernel, xnnpack

    def available(self) -> str:
        try:
            file.require_libraries()
        except MissingLibraryError as error:
            return str(error)
        return missing()

    def refusal(self, layer: Stated) -> str:
        if layer.kind in NO_KIND:
            return NO_KIND[layer.kind]
        form, spec = layer.form, layer.spec
        assert form is not None
        assert spec is not None
        if form.activation_scale:
            return "an activation scale computed at run time; the 1-bit convolution has constants per channel alone"
        if form.spatial_scale:
            return "a scale along the axes of the map; the 1-bit convolution has constants per channel alone"
        if spec.groups != 1:
            return f"a grouped convolution (groups={spec.groups}); the 1-bit convolution has one group"
        return ""

    def rounding(self, terms: Sequence[int]) -> float:
        """Larq Compute Engine computes scale × dot + bias of K products as (bias + K·scale) - 2·scale × popcount.

        K·scale, its sum with the bias and the product with the popcount, which is near K/2, are rounded by up to
        2^-24 K·|scale| each, in an output whose typical size is √K·|scale|: by a part 3·2^-24 √K. Layers' errors are
        independent and add in squares: 3·2^-24 √(ΣK).
        """
        return max(ROUNDING, 3 * 2.0**-24 * math.sqrt(sum(terms)))

    def notes(self, canonical: Canonical) -> list[str]:
        return [self.note] if canonical.dynamic else []

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        file.require_libraries()
        return file.write(translate(canonical))

    def load(self, path: Path, threads: int = 1) -> Any:
        self.require()
        described = manifest.read(path)
        graph = file.read(path.read_bytes(), str(path))
        names = [t.name for t in described.inputs] if described else []
        if described and names != [graph.tensors[i].name for i in graph.inputs]:
            raise BiBenchError(f"{path} has other inputs than its manifest says; export the model again")
        return graph, Interpreter(path.read_bytes(), threads, self.kernel, self.xnnpack)

    def run(self, loaded: Any, inputs: Sequence[Array]) -> list[Array]:
        graph, interpreter = loaded
        outputs = interpreter(_arranged(graph, inputs))
        return [_output(graph, index, found) for index, found in zip(graph.outputs, outputs, strict=True)]

    def layer_values(self, path: Path, inputs: Sequence[Array]) -> dict[str, LayerValues] | None:
        described = manifest.read(path)
        graph = file.read(path.read_bytes(), str(path))
        wider, places = probed(graph)
        interpreter = Interpreter(file.write(wider), 1, self.kernel, self.xnnpack)
        found = interpreter(_arranged(graph, inputs))
        interpreter.close()
        values = {}
        for layer, (source, made) in places.items():
            facts = graph.notes[LAYERS][layer]
            x = in_order(found[source], facts["rank"]) if facts["channels_last"] else found[source]
            shift = described.layers[layer].get("shift", 0.0) if described else 0.0
            values[layer] = LayerValues((x + np.float32(shift),), products(graph, layer, found[made]))
        return values


def _arranged(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """Inputs of a model in the order of ONNX as the file has them."""
    expected, orders = [], []
    for index in graph.inputs:
        tensor = graph.tensors[index]
        last = tensor.name in graph.notes.get(LAYOUTS, ())
        n, *sizes = tensor.shape
        shape = (sizes[-1], *sizes[:-1]) if last else tuple(sizes)
        expected.append((tensor.name, ("batch" if n == 1 else n, *shape), tensor.dtype))
        orders.append(TO_LAST if last else tuple(range(len(tensor.shape))))
    arrays = check_inputs(expected, inputs)
    return [np.ascontiguousarray(x.transpose(order)) for x, order in zip(arrays, orders, strict=True)]


def _output(graph: Graph, index: int, found: Array) -> Array:
    return in_order(found, 4) if graph.tensors[index].name in graph.notes.get(LAYOUTS, ()) else found
