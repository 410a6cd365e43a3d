"""Rows of devices: those of the paper, users' own, and what is wrong with a row."""

from pathlib import Path

import pytest

from bibench.deploy.devices import DEVICES, TRANSPORTS, Device, load_devices, register_device
from bibench.deploy.devices.known import KNOWN
from bibench.foundation.errors import BiBenchError, UnknownNameError

pytestmark = pytest.mark.usefixtures("devices_restored")


def rows(folder: Path, text: str) -> Path:
    file = folder / "devices.toml"
    file.write_text(text)
    return file


def test_the_papers_devices_have_all_their_parts() -> None:
    assert len(KNOWN) == 14
    for name in KNOWN:
        device = DEVICES[name]
        assert device.soc and device.isa.startswith("Armv") and device.clock_ghz
        assert device.cores == (10 if name == "Apple M1 Max" else 4 if name.startswith("Raspberry") else 8)
        assert list(device.clusters) == sorted(device.clusters, key=lambda c: -c[2]), name


def test_transports_and_this_machine() -> None:
    assert list(TRANSPORTS) == ["adb", "local", "ssh"]
    assert DEVICES["local"].open().name == "local"


def test_a_known_device_says_how_to_make_it_reachable() -> None:
    with pytest.raises(BiBenchError, match=r"'Raspberry Pi 4B' is known, but not how it is reached; .*--device-files"):
        DEVICES["Raspberry Pi 4B"].open()
    with pytest.raises(UnknownNameError, match="did you mean 'Raspberry Pi 4B'"):
        DEVICES["Raspberry Pi 4"]


def test_a_row_adds_to_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "config").touch()
    file = rows(tmp_path, '"Raspberry Pi 4B" = { transport = "ssh", host = "pi@kitchen", ssh_config = "config" }')
    [device] = load_devices(file)
    assert DEVICES["Raspberry Pi 4B"] is device
    assert device.soc == "Broadcom BCM2711" and device.options["host"] == "pi@kitchen"
    assert device.options["ssh_config"] == tmp_path / "config"  # beside the file that names it
    assert device.open().name == "ssh"


def test_a_new_device(tmp_path: Path) -> None:
    load_devices(rows(tmp_path, '[mine]\nsoc = "X"\nclusters = [[2, "A", 1], [4, "B", 2.5]]\ntransport = "adb"\n'))
    assert DEVICES["mine"].cores == 6 and DEVICES["mine"].clock_ghz == 2.5
    assert DEVICES["mine"].describe_cores() == "2 × A 1 GHz + 4 × B 2.5 GHz"
    assert register_device(Device("plug-in", soc="Y")) is DEVICES["plug-in"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "cannot be read"),
        ("x = 1", "device 'x': expected a table"),
        ("[x]\nsoc = 1", "device 'x': 'soc' is 1, expected str"),
        ("[x]\ncolour = 'red'", "unknown key 'colour'; without a transport: soc, clusters"),
        ("[x]\ntransport = 'pigeon'", "unknown transport 'pigeon'. Known transports: adb, local, ssh"),
        ("[x]\ntransport = 'ssh'", "device 'x': 'host' is missing; transport 'ssh' needs it"),
        ("[x]\ntransport = 'ssh'\nhost = 'a'\nserial = 'b'", "unknown key 'serial'; expected soc.*ssh_config"),
        ("[x]\ntransport = 'ssh'\nhost = 'a'\nport = '22'", "'port' is '22', expected int"),
        ("[x]\ntransport = 'ssh'\nhost = 'a'\nport = true", "'port' is True, expected int"),
        ("[x]\ntransport = 'ssh'\nhost = 'a'\nssh_config = 'none'", "'ssh_config': there is no file"),
        ("[x]\nclusters = [[4, 'A']]", "clusters has .*expected rows such as"),
        ("[x]\nclusters = [[0, 'A', 1.0]]", "clusters has"),
        ('["a\\u0007"]\nsoc = "b"', "expected a printable name"),
    ],
)
def test_what_is_wrong_with_a_row(tmp_path: Path, text: str, message: str) -> None:
    before = list(DEVICES)
    with pytest.raises(BiBenchError, match=message):
        load_devices(rows(tmp_path, "[fine]\nsoc = 'F'\n" + text if text.startswith("[") else text))
    assert list(DEVICES) == before  # the row before the bad one neither


@pytest.mark.parametrize("key", ["password", "passwd", "pass", "sudo_password", "passphrase", "token"])
def test_secrets_do_not_belong_into_rows_and_are_not_repeated(tmp_path: Path, key: str) -> None:
    with pytest.raises(BiBenchError, match=f"'{key}' does not belong into a file; use a key") as refused:
        load_devices(rows(tmp_path, f"[x]\ntransport = 'ssh'\nhost = 'a'\n{key} = 'hunter2'"))
    assert "hunter2" not in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BiBenchError, match=r"--device-files .*none\.toml cannot be read"):
        load_devices(tmp_path / "none.toml")
