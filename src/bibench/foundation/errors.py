"""What BiBench raises when the cause is something its user can fix.

Every message names the argument, what was expected, what came, and the fix. The command line prints
the message alone and exits with status 2; anything else is a bug and shows its traceback.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class BiBenchError(ValueError):
    """Base of all errors that a user can fix."""


class UnknownNameError(BiBenchError, LookupError):
    """A name that is in no registry."""


class UnsupportedError(BiBenchError):
    """A combination that cannot work, by its nature; the benchmark records it as a row with this reason."""


class ConversionError(BiBenchError):
    """A model that `bibench.binarize` cannot convert as asked."""


class ProofError(BiBenchError):
    """A model whose 1-bit layers are not what computes."""


class DefinitionError(BiBenchError):
    """An operator, model or task whose own code is at fault; the message has the line and the fix."""


class ExampleInputsError(BiBenchError):
    """A model that cannot be called with the example inputs."""


class DataError(BiBenchError):
    """Data that is missing, damaged or not in the expected format."""


class CheckpointError(BiBenchError):
    """A checkpoint that is damaged, malicious or belongs to another model."""


class DamagedError(CheckpointError):
    """A stored file that is not what was written: its checksum, or what else is known of it, is another."""


class StoreError(BiBenchError):
    """A run folder that cannot be read or written."""


class TrainingError(BiBenchError):
    """A training that cannot go on (for instance, numbers that are no longer finite)."""


class MissingLibraryError(BiBenchError, ImportError):
    """A library of an optional extra that is not installed."""


class BinarizationWarning(UserWarning):
    """A conversion that did what was asked, but leaves a layer with nothing to learn from."""


class SpeedWarning(UserWarning):
    """A conversion that did what was asked, but of layers that 1 bit makes no faster."""


class DefinitionWarning(UserWarning):
    """Code of a user's own that runs, but not as it was meant: a misspelled name, or nothing overridden."""


@contextmanager
def naming(place: object) -> Iterator[None]:
    """Put the file (and line) that is at fault before the message of a `BiBenchError` that does not name it.

    Args:
        place: a file, or a file and line.
    """
    try:
        yield
    except BiBenchError as error:
        if str(place) in str(error):
            raise
        raise type(error)(f"{place}: {error}") from error


def ending(code: int | None) -> str:
    """How a process ended that should not have: ``exit code 3``; short memory ends processes by SIGKILL.

    Args:
        code: its exit code, negative for a signal; None is told as it is.
    """
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}" + ("; out of memory?" if code == -signal.SIGKILL else "")


def require(module: str, *, extra: str, purpose: str) -> None:
    """Raise `MissingLibraryError` with the install line when `module` cannot be imported.

    Args:
        extra: the optional extra that brings it.
        purpose: what it is needed for, for the message.

    Raises:
        MissingLibraryError: it is not installed; with the install line.
    """
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise MissingLibraryError(
            f"{purpose} needs the library {module.replace('_', '-')}, which is not installed; "
            f"install it with: pip install 'bibench[{extra}]'"
        )
