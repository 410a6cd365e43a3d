"""The constants for large images are those of ImageNet-C, in the units of its authors' script.

Read off ImageNet-C/create_c/make_imagenet_c.py of https://github.com/hendrycks/robustness (commit e0377d4); the
package imagecorruptions has the same but for elastic_transform, which it rewrote for other sizes.
"""

import numpy as np
import pytest

from bibench.data.corruptions import CORRUPTIONS
from bibench.data.corruptions.constants import IMAGENET, constants_for

PUBLISHED = {
    "gaussian_noise": [0.08, 0.12, 0.18, 0.26, 0.38],
    "shot_noise": [60, 25, 12, 5, 3],
    "impulse_noise": [0.03, 0.06, 0.09, 0.17, 0.27],
    "speckle_noise": [0.15, 0.2, 0.35, 0.45, 0.6],
    "gaussian_blur": [1, 2, 3, 4, 6],
    "glass_blur": [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    "defocus_blur": [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)],
    "motion_blur": [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
    "fog": [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
    "frost": [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    "snow": [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ],
    "spatter": [
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ],
    "contrast": [0.4, 0.3, 0.2, 0.1, 0.05],
    "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
    "saturate": [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    "jpeg_compression": [25, 18, 15, 10, 7],
    "pixelate": [0.6, 0.5, 0.4, 0.3, 0.25],
}
ZOOMS = [
    np.arange(1, 1.11, 0.01),
    np.arange(1, 1.16, 0.01),
    np.arange(1, 1.21, 0.02),
    np.arange(1, 1.26, 0.02),
    np.arange(1, 1.31, 0.03),
]
ELASTIC = [(488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)]
"""Strength, smoothness and affine jitter in pixels of 224 × 224: multiples of 244, which its authors left so."""


def test_all_19_are_checked() -> None:
    assert {*PUBLISHED, "zoom_blur", "elastic_transform"} == set(CORRUPTIONS)


@pytest.mark.parametrize("corruption", PUBLISHED)
def test_as_published(corruption: str) -> None:
    assert list(constants_for(224, 224)[corruption]) == PUBLISHED[corruption]


def test_zooms() -> None:
    for published, ours in zip(ZOOMS, IMAGENET["zoom_blur"], strict=True):
        np.testing.assert_array_equal(np.arange(1, *ours), published)


def test_elastic_lengths_in_pixels() -> None:
    np.testing.assert_allclose(224 * np.array(IMAGENET["elastic_transform"]), ELASTIC)
