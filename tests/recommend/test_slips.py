"""Names of devices and engines that are close to one with measurements are refused; others are answered."""

import pytest

from bibench.foundation.errors import UnknownNameError
from bibench.recommend import Wishes
from bibench.recommend.slips import nearest, require_no_slip

from .test_recommend import latency

BOARDS = [latency("bnn", 5, device=device, engine="larq") for device in ("Raspberry Pi 4B", "Raspberry Pi 3B+", "Mini")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Raspbery Pi 4B", "'Raspberry Pi 4B' or"),
        ("raspberry-pi-3b", "'Raspberry Pi 3B\\+' or"),
        ("raspberrypi4b", "'Raspberry Pi 4B' or"),
        ("Pi 4B", "'Raspberry Pi 4B'\\?"),
        ("Minni", "'Mini'\\?"),
    ],
)
def test_the_likely_name_is_told(name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"--device {name}: nothing was measured .* did you mean {meant}"):
        require_no_slip(Wishes("t", name), BOARDS)


@pytest.mark.parametrize("name", ["raspberry pi 4b", "Mini", "Kirin 970", "local", "Phone", ""])
def test_known_names_in_any_case_and_names_of_others_are_no_slips(name: str) -> None:
    require_no_slip(Wishes("t", name), BOARDS)


def test_a_device_of_the_catalogue_that_was_not_measured_is_no_slip_of_its_neighbour() -> None:
    require_no_slip(Wishes("t", "Kirin 980"), [latency("bnn", 5, device="Kirin 990")])


def test_engines_likewise() -> None:
    with pytest.raises(UnknownNameError, match=r"--engine lark: .* did you mean 'larq'\? Measured were: larq\."):
        require_no_slip(Wishes("t", "Mini", engine="lark"), BOARDS)
    require_no_slip(Wishes("t", "Mini", engine="dabnn"), BOARDS)


def test_nothing_is_near_to_what_is_short_or_other() -> None:
    assert nearest("Pi", ["Raspberry Pi 4B"]) == []
    assert nearest("toaster", ["Raspberry Pi 4B"]) == []
