#!/usr/bin/env bash
# gguf 0.19.0: Q4_0 and Q5_0 do not keep 1-bit weights; one of the two signs becomes smaller.
#
# guess: weights of two values -a and +a with one scale per block survive every format of 2 bits and more, up to the
#        float16 of the scale: a sign needs 1 bit.
# seen:  Q4_0 gives one sign a, the other 7/8 a, Q5_0 gives a and 15/16 a: the scale is the first value of largest
#        magnitude over -8 (-16), so the opposite sign would be the level +8 (+16), which does not exist, and is cut to
#        +7 (+15). Which sign shrinks is that of each block's first weight, so both occur within one row, and the
#        row's four values are -a, -7/8 a, 7/8 a, a. TQ1_0, TQ2_0 and Q8_0 keep the two values.
#
# Who carries a binarized layer in a "4-bit" file changes 1-bit weights by up to 12.5 %, block by block.
# Exits 0 while this holds, non-zero when it changes.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/env"
"$room/env/bin/pip" install --quiet gguf==0.19.0 numpy==2.4.6
cd "$room"
"$room/env/bin/python" - <<'PYTHON'
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize, quantize

a = np.float32(0.5)
signs = np.where(np.random.default_rng(0).random((4, 256)) < 0.5, -1, 1).astype(np.float32)
weights = a * signs

for kind, kept in ((Kind.Q4_0, 7 / 8), (Kind.Q5_0, 15 / 16)):
    read = dequantize(quantize(weights, kind), kind)
    print(kind.name, np.unique(read))
    first = np.repeat(signs[:, ::32], 32, axis=1)  # blocks of 32
    assert np.array_equal(read, weights * np.where(signs == first, 1, np.float32(kept))), kind
    assert len(np.unique(read)) == 4

for kind in (Kind.TQ1_0, Kind.TQ2_0, Kind.Q8_0):
    read = dequantize(quantize(weights, kind), kind)
    print(kind.name, np.unique(read))
    assert len(np.unique(read)) == 2 and np.allclose(read, weights, rtol=1e-3), kind
PYTHON
