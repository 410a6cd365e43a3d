"""Which names in records are comparators: known without PyTorch, once it was asked."""

from __future__ import annotations

from bibench.data.remembered import live, remembered


def known_comparators() -> list[str]:
    """Names of all comparators, quantizers first."""
    return remembered("comparators", _comparators)


def is_comparator(operator: str) -> bool:
    """Whether a record's operator (a name, options or not) is a comparator; one that is unknown here is not."""
    name = operator.partition("[")[0]
    return _is_comparator(name) if live() else name in known_comparators()


def _comparators() -> list[str]:
    from bibench.comparators.compressor import COMPRESSORS
    from bibench.operators import OPERATORS

    quantizers = [name for name in OPERATORS if OPERATORS[name].comparator]
    return quantizers + [name for name in COMPRESSORS if COMPRESSORS[name].comparator]


def _is_comparator(name: str) -> bool:
    from bibench.comparators.compressor import COMPRESSORS, method
    from bibench.operators import OPERATORS

    return (name in COMPRESSORS or name in OPERATORS) and method(name).comparator
