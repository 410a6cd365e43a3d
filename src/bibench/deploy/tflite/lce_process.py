"""The interpreter of Larq Compute Engine as a process: models and arrays come in by a pipe, outputs go back.

It runs in the Python that has Larq Compute Engine, whose compiled module needs NumPy below 2; so this file
imports nothing of BiBench. A message is a line of JSON that says how long the arrays are that follow, each as
`.npy`, which is read without pickle. The package is imported without TensorFlow, which only its converter needs.
"""

import io
import json
import sys
import types
from collections.abc import Sequence
from importlib.machinery import PathFinder
from typing import IO, Any

import numpy as np


def interpreter_class() -> Any:
    """Larq Compute Engine's `Interpreter`, without the package's own import of its converter."""
    found = PathFinder.find_spec("larq_compute_engine")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("No module named 'larq_compute_engine'")
    package = types.ModuleType("larq_compute_engine")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["larq_compute_engine"] = package
    from larq_compute_engine.tflite.python.interpreter import Interpreter  # type: ignore[import-not-found]

    return Interpreter


def check() -> None:
    """Raise unless models can be run."""
    if int(np.__version__.split(".")[0]) >= 2:
        raise ImportError(f"its NumPy is {np.__version__}, Larq Compute Engine needs one below 2")
    interpreter_class()
    from larq_compute_engine.tflite.python import interpreter_wrapper_lite  # type: ignore[import-not-found]  # noqa: F401


def send(stream: IO[bytes], arrays: Sequence[Any], **facts: Any) -> None:
    parts = []
    for array in arrays:
        held = io.BytesIO()
        np.save(held, array, allow_pickle=False)
        parts.append(held.getbuffer())
    stream.write((json.dumps({**facts, "sizes": [len(part) for part in parts]}) + "\n").encode())
    for part in parts:
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any] | None, list[Any]]:
    line = stream.readline()
    if not line:
        return None, []
    facts = json.loads(line)
    return facts, [np.load(io.BytesIO(stream.read(size)), allow_pickle=False) for size in facts.pop("sizes")]


def outputs_of(interpreter: Any, inputs: Sequence[Any]) -> list[Any]:
    """Run the batches that the model is built for, one after the other."""
    each = interpreter.input_shapes[0][0] if interpreter.input_shapes[0] else 1
    count = len(inputs[0])
    if count % each:
        raise ValueError(f"the model is built for batches of {each}, got {count} examples")
    runs = [interpreter.interpreter.predict([x[i : i + each] for x in inputs]) for i in range(0, count, each)]
    return [np.concatenate(parts) if parts[0].ndim else parts[0] for parts in zip(*runs)]


def serve(source: IO[bytes], target: IO[bytes]) -> None:
    """Answer messages until the pipe closes: first the options with the model's bytes, then inputs."""
    options, (content,) = receive(source)
    assert options is not None
    interpreter = interpreter_class()(content.tobytes(), **options)
    send(target, [])
    while True:
        facts, inputs = receive(source)
        if facts is None:
            return
        try:
            send(target, outputs_of(interpreter, inputs))
        except (ValueError, RuntimeError) as error:
            send(target, [], problem=str(error))


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        serve(sys.stdin.buffer, sys.stdout.buffer)
