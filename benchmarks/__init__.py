"""Measurements of speed and memory, each beside its peer in one run; see `python -m benchmarks --help`."""
