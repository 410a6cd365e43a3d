"""Checksums: those that the standards print for "abc"."""

from pathlib import Path

from bibench.foundation.checksums import file_digest, file_sha256, sha256

MD5 = "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_of_bytes() -> None:
    assert sha256(b"ab", memoryview(b"c")) == sha256(b"abc") == SHA256


def test_of_files(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    assert file_sha256(file) == file_digest(file, "sha256") == SHA256
    assert file_digest(file, "md5") == MD5
