"""The 19 common corruptions of CIFAR-10-C in five severities (Hendrycks & Dietterich, 2019).

One file per family, constants in `constants`. Every image has its own random stream, so results depend
neither on how images are batched nor on workers.
"""

from bibench.data.corruptions.apply import CORRUPTIONS, EXTRA, SEVERITIES, corrupt

__all__ = ["CORRUPTIONS", "EXTRA", "SEVERITIES", "corrupt"]
