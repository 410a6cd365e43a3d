"""Rows of devices: those that are known, and a user's own file.

A TOML file, one row or table per device:

    "Raspberry Pi 4B" = { transport = "ssh", host = "pi@kitchen.local" }

A row under a known name adds to what is known. What is in a row beside the parts of `Device` are the
options of its transport.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from bibench.deploy.devices.base import DEVICES, TRANSPORTS, Device
from bibench.foundation.errors import BiBenchError
from bibench.foundation.files import unreadable

PARTS = {"soc": str, "clusters": list, "isa": str, "note": str, "transport": str}
SECRETS = re.compile(r"pass(word|phrase|wd)?$|secret|token", re.IGNORECASE)


def register_device(device: Device) -> Device:
    """Enter one device, or another row for a known one; for plug-ins in the entry-point group ``bibench.devices``."""
    return DEVICES.register(device.name, device)


def load_devices(file: str | Path) -> list[Device]:
    """Enter all rows of a TOML file, or none: `BiBenchError` names the row and key at fault."""
    path = Path(file).expanduser()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problem = f"{path} cannot be read ({error}); expected TOML with a row per device"
        raise BiBenchError(f"--device-files {unreadable(path, error) or problem}") from error
    rows = [_row(name, row, f"{path}: device {name!r}", path.resolve().parent) for name, row in table.items()]
    return [register_device(row) for row in rows]


def _row(name: str, row: Any, where: str, folder: Path) -> Device:
    if not name.strip() or not name.isprintable():
        raise BiBenchError(f"{where}: expected a printable name")
    if not isinstance(row, dict):
        raise BiBenchError(f'{where}: expected a table such as {{ transport = "ssh", host = "pi@host" }}')
    known = DEVICES[name] if name in DEVICES else Device(name)
    parts = {key: _typed(row[key], kind, f"{where}: {key!r}") for key, kind in PARTS.items() if key in row}
    if "clusters" in parts:
        parts["clusters"] = _clusters(parts["clusters"], where)
    device = replace(known, **parts)
    return replace(device, options=_options(device, row, where, folder))


def _options(device: Device, row: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    given = {key: value for key, value in row.items() if key not in PARTS}
    if secret := next((key for key in given if SECRETS.search(key)), None):
        raise BiBenchError(f"{where}: {secret!r} does not belong into a file; use a key (ssh-copy-id) and its agent")
    if not device.transport:
        if given:
            raise BiBenchError(f"{where}: unknown key {next(iter(given))!r}; without a transport: {', '.join(PARTS)}")
        return {}
    kind = TRANSPORTS[device.transport]
    for key, value in given.items():
        if key not in kind.options:
            raise BiBenchError(f"{where}: unknown key {key!r}; expected {', '.join([*PARTS, *kind.options])}")
        _typed(value, str if kind.options[key] is Path else kind.options[key], f"{where}: {key!r}")
    if missing := [key for key in kind.required if key not in given]:
        raise BiBenchError(f"{where}: {missing[0]!r} is missing; transport {device.transport!r} needs it")
    return {k: _file(v, folder, f"{where}: {k!r}") if kind.options[k] is Path else v for k, v in given.items()}


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise BiBenchError(f"{where} is {value!r}, expected {kind.__name__}")
    return value


def _file(value: str, folder: Path, where: str) -> Path:
    path = folder / Path(value).expanduser()
    if not path.is_file():
        raise BiBenchError(f"{where}: there is no file {path}")
    return path


def _clusters(rows: list[Any], where: str) -> tuple[tuple[int, str, float], ...]:
    found = []
    for row in rows:
        match row:
            case [int(count), str(core), int() | float() as clock] if count > 0 and clock > 0:
                found.append((count, core, float(clock)))
            case _:
                raise BiBenchError(f'{where}: clusters has {row!r}, expected rows such as [4, "Cortex-A72", 1.5]')
    return tuple(found)
