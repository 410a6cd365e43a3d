"""python -m benchmarks [NAME ...] [--output FILE] [options]: run benchmarks, print ratios of medians, write JSON."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import benchmarks
from bibench.foundation.files import write_json
from bibench.records.provenance import environment

PARTS = {"__main__", "timing", "larq_timer"}


def names() -> list[str]:
    """All benchmarks: the modules here that have `run`."""
    return sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in PARTS)


def show(rows: list[dict[str, Any]]) -> None:
    """One line per row."""
    for row in rows:
        if "ratio" in row:
            low, high = row["quartiles_ms"]
            print(
                f"  {row['name']:<44} {row['median_ms']:>10.2f} ms [{low:.2f}, {high:.2f}]"
                f"   {row['ratio']:.3f} × {row['base']}"
            )
        else:
            print(f"  {json.dumps(row)}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", choices=[[], *names()], help=f"one or more of {', '.join(names())}")
    parser.add_argument("--output", type=Path, help="write the results as JSON")
    parser.add_argument("--models", help="of `deployment` or `training_step`, separated by commas (all)")
    parser.add_argument("--threads", help="of the same, separated by commas (1,2)")
    arguments = parser.parse_args()
    options = {"models": arguments.models and arguments.models.split(",")}
    options["threads"] = arguments.threads and [int(count) for count in arguments.threads.split(",")]
    given = {key: value for key, value in options.items() if value}
    results: dict[str, Any] = {"environment": environment(), "benchmarks": {}}
    for name in arguments.name or names():
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        rows = module.run(**{k: v for k, v in given.items() if k in inspect.signature(module.run).parameters})
        show(rows)
        if hasattr(module, "table"):
            print(module.table(rows))
        results["benchmarks"][name] = rows
    if arguments.output:
        write_json(arguments.output, results)


if __name__ == "__main__":
    main()
