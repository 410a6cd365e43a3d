"""python docs/corruptions.py: draw docs/corruptions.png, a photograph under all corruptions at all severities.

The photograph is scikit-image's astronaut (NASA, public domain).
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bibench.data import photos
from bibench.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt

SIZE, SCALE, GAP, LABEL = 32, 2, 2, 112
TILE = SIZE * SCALE + GAP


def main() -> None:
    """Two columns of corruptions; in each the image as it is and at severities 1 to 5."""
    half = (len(CORRUPTIONS) + 1) // 2
    width = LABEL + (1 + len(SEVERITIES)) * TILE
    sheet = Image.new("RGB", (2 * width, half * TILE), "white")
    draw = ImageDraw.Draw(sheet)
    picture = Image.fromarray(photos.load()["astronaut"][10:230, 110:330])
    image = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BOX))[None]
    for number, name in enumerate(CORRUPTIONS):
        left, top = number // half * width, number % half * TILE
        draw.text((left + 4, top + TILE // 2 - 6), name, fill="black")
        for column, made in enumerate([image, *(corrupt(image, name, severity) for severity in SEVERITIES)]):
            tile = Image.fromarray(made[0]).resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.NEAREST)
            sheet.paste(tile, (left + LABEL + column * TILE, top))
    sheet.quantize(255).save(Path(__file__).with_name("corruptions.png"), optimize=True)


if __name__ == "__main__":
    main()
