"""Devices: what they are and how they are reached. A device is one row, a transport one file of this package."""

from bibench.deploy.devices.base import DEVICES, TRANSPORTS, Connection, Device, Transport, transport
from bibench.deploy.devices.rows import load_devices, register_device

__all__ = [
    "DEVICES",
    "TRANSPORTS",
    "Connection",
    "Device",
    "Transport",
    "load_devices",
    "register_device",
    "transport",
]
