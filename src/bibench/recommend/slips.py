"""Slips of the pen in names of devices and engines: nothing was measured under a name that is close to a known one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from bibench.foundation.errors import UnknownNameError
from bibench.foundation.wording import listed
from bibench.recommend.candidates import Wishes
from bibench.records.record import Record

CLOSE = 0.75
"""How alike two names must be, as `difflib` measures it, with letters and digits alone: ``Raspbery Pi 4`` is 0.92 of
``Raspberry Pi 4B``."""
SHORT = 4
"""Shorter parts of names are no hint."""


def require_no_slip(wishes: Wishes, latencies: Sequence[Record]) -> None:
    """Raise for a device or engine without a latency whose name is close to one that has some.

    Names that are known elsewhere, as devices and engines of the catalogue, are none: they were not measured.

    Args:
        wishes: what is asked for.
        latencies: all records of latency, of any task.

    Raises:
        UnknownNameError: with the likely name.
    """
    measured = [r for r in latencies if r.value is not None]
    devices = sorted({r.device for r in latencies})
    engines = sorted({r.engine for r in measured if r.engine})
    for option, name, known, catalogue in (
        ("--device", wishes.device, devices, _devices),
        ("--engine", wishes.engine, engines, _engines),
    ):
        near = [] if not name or _in(name, known) else nearest(name, known)
        if near and not _in(name, catalogue()):
            raise UnknownNameError(
                f"{option} {name}: nothing was measured under that name; did you mean "
                f"{listed([repr(one) for one in near], 'or')}? Measured were: {', '.join(known)}."
            )


def nearest(name: str, known: Collection[str]) -> list[str]:
    """Up to three known names that `name` may have meant, the likeliest first.

    Args:
        name: that is not known.
        known: names.
    """
    plain = {_plain(one): one for one in known}
    close = difflib.get_close_matches(_plain(name), plain, 3, CLOSE)
    parts = [one for one in plain if len(_plain(name)) >= SHORT and _plain(name) in one]
    return [plain[one] for one in dict.fromkeys([*close, *parts])][:3]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _in(name: str, known: Collection[str]) -> bool:
    return name.casefold() in {one.casefold() for one in known}


def _devices() -> Collection[str]:
    from bibench.deploy.devices import DEVICES  # seldom needed, and it imports a lot

    return list(DEVICES)


def _engines() -> Collection[str]:
    from bibench.deploy.engine_names import engine_names

    return engine_names()
