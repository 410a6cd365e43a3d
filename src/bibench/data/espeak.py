"""Words spoken by eSpeak NG, an optional library (package espeakng-loader, GPL-3), through its C interface.

eSpeak's output depends on everything it said before in the same process, even with its generator seeded.
So the whole set is spoken in one order by a process of its own, which writes it to a file and ends:

    python -m bibench.data.espeak utterances.json clips.npz
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.foundation.errors import DataError, require

RATE = 22_050
ACCENTS = (
    *("en-us", "en-us-nyc", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
    "en-029",
)
"""American, New York, British, Scottish, received pronunciation, Lancaster, West Midlands, Caribbean."""

Clip = NDArray[np.int16]


@dataclass(frozen=True)
class Utterance:
    """A text by a voice: variant `voice` of `accent`, `rate` in words per minute, `pitch` and `range` in 0..99."""

    text: str
    voice: str
    accent: str
    rate: int
    pitch: int
    range: int


def need() -> str:
    """What is missing to speak, or an empty string."""
    try:
        require("espeakng_loader", extra="speech", purpose="speaking words with eSpeak NG")
    except ImportError as error:
        return str(error)
    return ""


def voices() -> list[str]:
    """Names of the voice variants that eSpeak comes with."""
    import espeakng_loader  # type: ignore[import-untyped, unused-ignore]

    return sorted(file.name for file in (Path(espeakng_loader.get_data_path()) / "voices" / "!v").iterdir())


def speak(utterances: Sequence[Utterance], scratch: Path) -> list[Clip]:
    """All of `utterances`, in a fresh process; `scratch` is a folder for its files. 16 bits at `RATE`."""
    orders, clips = scratch / "utterances.json", scratch / "clips.npz"
    orders.write_text(json.dumps([asdict(utterance) for utterance in utterances]), encoding="utf-8")
    command = [sys.executable, "-m", "bibench.data.espeak", str(orders), str(clips)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode or not clips.is_file():
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise DataError(f"eSpeak NG failed ({lines[-1]}); is the package espeakng-loader whole? install it again")
    with np.load(clips) as stored:
        spoken = np.split(stored["samples"], stored["ends"][:-1])
    orders.unlink()
    clips.unlink()
    return spoken


class _ESpeak:
    """The library, initialised for this process."""

    SYNCHRONOUS, UTF8, WORDS_PER_MINUTE, PITCH, RANGE = 2, 1, 1, 3, 4  # of speak_lib.h

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        rate = self._library.espeak_Initialize(self.SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if rate != RATE:
            raise DataError(f"eSpeak NG speaks at {rate} Hz, expected {RATE}; install another version")
        self._library.espeak_ng_SetRandSeed(0)
        self._pieces: list[bytes] = []
        form = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = form(self._receive)  # kept: the library calls it as long as it lives
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        ]

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    def speak(self, utterance: Utterance) -> Clip:
        self._pieces.clear()
        name = f"{utterance.accent}+{utterance.voice}"
        if self._library.espeak_SetVoiceByName(name.encode()):
            raise DataError(f"eSpeak NG has no voice {name}; install another version")
        for parameter, value in (
            (self.WORDS_PER_MINUTE, utterance.rate),
            (self.PITCH, utterance.pitch),
            (self.RANGE, utterance.range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        text = utterance.text.encode()
        if self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, self.UTF8, None, None):
            raise DataError(f"eSpeak NG cannot say {utterance.text!r}")
        return np.frombuffer(b"".join(self._pieces), dtype=np.int16)


def main(orders: str, clips: str) -> None:
    """Speak what the file `orders` lists, in its order, into the file `clips`."""
    library = _ESpeak()
    spoken = [library.speak(Utterance(**row)) for row in json.loads(Path(orders).read_text(encoding="utf-8"))]
    np.savez(clips, samples=np.concatenate(spoken), ends=np.cumsum([len(clip) for clip in spoken]))


if __name__ == "__main__":
    main(*sys.argv[1:])
