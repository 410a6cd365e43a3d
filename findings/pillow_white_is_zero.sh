#!/usr/bin/env bash
# Pillow 13.0.0: a grey TIFF whose white is zero opens inverted at 16 bits, right at 8.
#
# guess: PhotometricInterpretation 0 (WhiteIsZero) is undone at every depth: stored 0 opens as white, so that the
#        same picture written either way gives the same array.
# seen:  8 bits: stored 0, 1, 255 open as 255, 254, 0 (mode L). 16 bits: stored 0, 1, 65535 open as 0, 1, 65535 (mode
#        I;16), the same as of a file with PhotometricInterpretation 1; Image.open tells no difference but tag 262.
#
# Images of 16 bits (depth, microscopy, X-ray) of such files enter a data set as negatives, beside right ones of 8 bits.
# Exits 0 while this holds, non-zero when it changes.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/env"
"$room/env/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cd "$room"
"$room/env/bin/python" - <<'PYTHON'
import io
import struct

import numpy as np
from PIL import Image

SHORT, LONG = 3, 4
HEADER, COUNT, ENTRY, NEXT = 8, 2, 12, 4  # bytes


def tiff(stored, white):
    """A grey image of one row, uncompressed, baseline TIFF 6.0."""
    data, bits = stored.tobytes(), 8 * stored.itemsize
    fields = {256: len(stored), 257: 1, 258: bits, 259: 1, 262: 1 if white else 0, 273: 0, 277: 1, 278: 1, 279: len(data)}
    fields[273] = HEADER + COUNT + ENTRY * len(fields) + NEXT  # where the strip begins
    entries = [struct.pack("<HHII", tag, LONG if tag in (273, 279) else SHORT, 1, v) for tag, v in fields.items()]
    return struct.pack("<2sHIH", b"II", 42, HEADER, len(entries)) + b"".join(entries) + bytes(NEXT) + data


for kind, inverted in (("<u1", True), ("<u2", False)):
    stored = np.array([0, 1, np.iinfo(kind).max], kind)
    for white in (True, False):
        image = Image.open(io.BytesIO(tiff(stored, white)))
        read = np.asarray(image).ravel()
        print(f"{kind[1:]}, white is {'largest' if white else 'zero'}: {stored.tolist()} opens as {image.mode} {read.tolist()}")
        right = stored if white else stored ^ np.iinfo(kind).max
        assert np.array_equal(read, right if white or inverted else stored)
        assert white or inverted == np.array_equal(read, right)
PYTHON
