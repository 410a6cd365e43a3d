"""``python3 -m bundle job.json`` runs a job; ``python3 -m bundle turns`` is how it starts its own steps."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .job import STEPS, Event, run_job


def main() -> None:
    """Read the job, and write events to the standard output, which nothing else may write to."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the standard error

    def emit(event: Event) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    if sys.argv[1] in STEPS:
        STEPS[sys.argv[1]](json.load(sys.stdin), emit)
    else:
        run_job(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), emit)


if __name__ == "__main__":
    main()
