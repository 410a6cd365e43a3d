"""``bibench``: the entry point, and how errors are shown.

Nothing heavy is imported before signals are seen to: that takes seconds, in which Ctrl-C is no traceback either.
"""

from __future__ import annotations

import io
import sys
import traceback

from bibench.cli.exit_codes import FAILED, USER_ERROR
from bibench.foundation.errors import BiBenchError
from bibench.foundation.signals import stoppable
from bibench.foundation.visible import visible_streams

INSTALL = "the command line needs Typer and Rich; install them with: pip install 'bibench[bench]'"


def main() -> None:
    """Entry point of the ``bibench`` command."""
    with stoppable():
        _main()


def _main() -> None:
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        print(f"error: {INSTALL}", file=sys.stderr)
        sys.exit(USER_ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without ± or ─ must not cost the output
            stream.reconfigure(errors="replace")
    with visible_streams():
        _run()


def _run() -> None:
    from bibench.cli.commands import app
    from bibench.cli.output import TOLD
    from bibench.records.flags import IN_FORCE, Marks

    TOLD.clear()
    IN_FORCE.set(Marks())
    try:
        app()
    except BiBenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except PermissionError as error:
        print(f"error: {error.filename}: {error.strerror}; change its permissions or ask its owner", file=sys.stderr)
        sys.exit(USER_ERROR)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        sys.exit(0)
    except Exception:  # a bug; here, where its text cannot act on the terminal
        traceback.print_exc()
        sys.exit(FAILED)
