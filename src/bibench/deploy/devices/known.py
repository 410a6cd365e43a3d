"""The rows of ``known.toml``."""

from __future__ import annotations

from pathlib import Path

from bibench.deploy.devices.rows import load_devices

KNOWN = [device.name for device in load_devices(Path(__file__).with_name("known.toml"))]
"""The paper's devices."""
