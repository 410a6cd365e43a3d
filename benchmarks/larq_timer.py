"""Runs in the Python that has Larq Compute Engine: `larq_timer.py FILE OPTIONS CLOCK FOLDER`, the folder that of
`lce_process.py`; then seconds of a call for each line that comes in. The calls are timed here, so that no pipe is in
the times. Imports nothing else of BiBench."""

import json
import sys
import time
from pathlib import Path

import numpy as np


def main(path, options, clock, folder):
    sys.path.insert(0, folder)
    from lce_process import interpreter_class

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
