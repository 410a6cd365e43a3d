"""``bibench``: the application object, its exit codes, and how errors are shown.

Exit codes: 0 success; 1 some cells failed, a check found a
broken contract or data is not usable; 2 a user's error;
130 and 143 stopped by SIGINT and SIGTERM.
"""

from __future__ import annotations

import io
import sys

from bibench.errors import BiBenchError

FAILED, USER_ERROR = 1, 2

INSTALL = "the command line needs Typer and Rich; install them with: pip install 'bibench[bench]'"


def main() -> None:
    """Entry point of the ``bibench`` command."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        print(f"error: {INSTALL}", file=sys.stderr)
        sys.exit(USER_ERROR)
    from bibench.cli.commands import app
    from bibench.cli.output import TOLD

    TOLD.clear()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without ± or ─ must not cost the output
            stream.reconfigure(errors="replace")
    try:
        app()
    except BiBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        sys.exit(0)
