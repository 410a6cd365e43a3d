"""Runs in the Python that has Larq Compute Engine: `larq_timer.py FILE OPTIONS CLOCK`, then seconds of a call for each
line that comes in. The calls are timed here, so that no pipe is in the times. Imports nothing of BiBench."""

import json
import sys
import time
import types
from importlib.machinery import PathFinder
from pathlib import Path

import numpy as np


def interpreter_class():
    """`Interpreter`, without the package's own import of its converter, which needs TensorFlow."""
    package = types.ModuleType("larq_compute_engine")
    package.__path__ = list(PathFinder.find_spec("larq_compute_engine").submodule_search_locations)
    sys.modules["larq_compute_engine"] = package
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    return Interpreter


def main(path, options, clock):
    interpreter = interpreter_class()(Path(path).read_bytes(), **json.loads(options))
    random, now = np.random.default_rng(0), getattr(time, clock)
    inputs = [
        random.standard_normal(shape).astype(kind) if np.issubdtype(kind, np.floating) else np.ones(shape, kind)
        for shape, kind in zip(interpreter.input_shapes, interpreter.input_types)
    ]
    for _ in sys.stdin:
        interpreter.interpreter.predict(inputs)  # the others emptied the caches
        start = now()
        interpreter.interpreter.predict(inputs)
        print(now() - start, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
