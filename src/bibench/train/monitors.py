"""What is measured while a cell trains: peak memory of the process or device."""

from __future__ import annotations

from pathlib import Path

import torch


class PeakMemory:
    """Peak memory since construction, in bytes: of the device for CUDA, else of this process (None if unknown)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._resettable = False
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: resets the peak below
            self._resettable = True
        except OSError:
            pass

    def read(self) -> int | None:
        """The peak so far."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if not self._resettable:
            return None
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
