"""Fixtures of several files: the command in this process, and a run folder of the tiny benchmark."""

from .test_cli import call as call
from .test_cli import runs as runs
