"""Single bits of files, changed one at a time: what tests of checksums do to whatever is stored."""

import random
from collections.abc import Iterator
from pathlib import Path


def flips(file: Path, count: int = 60, seed: int = 0) -> Iterator[int]:
    """Change one bit of `file`, then the next, spread over all of it with its first and last bytes; whole at the end.

    Yields the place of the changed byte.
    """
    whole, drawn = file.read_bytes(), random.Random(seed)
    size = len(whole)
    places = [size * i // count + drawn.randrange(max(1, size // count)) for i in range(count)]
    for at in sorted({0, size - 1, *(min(p, size - 1) for p in places)}):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << drawn.randrange(8)]) + whole[at + 1 :])
        yield at
    file.write_bytes(whole)
