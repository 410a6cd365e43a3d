"""A real SSH server of our own, for the tests: own port, host key, users' keys; nothing of the system's is used."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ..onnx_files import is_root

PRIVILEGE_SEPARATION = Path("/run/sshd")


@dataclass
class Server:
    """A running server, and the configuration of a client that knows it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def scratch(self) -> Path:
        """Where temporary files of its sessions lie."""
        return self.folder / "tmp"

    def hang_up(self) -> None:
        """Cut all connections, as a network does; the server goes on."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if child.name().startswith("sshd"):
                with suppress(psutil.NoSuchProcess):
                    child.kill()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Start a server with everything it needs in `folder`; skips the test where that cannot be."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists() or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("needs OpenSSH's server and client")
    if is_root() and not PRIVILEGE_SEPARATION.exists():  # as its service makes it
        PRIVILEGE_SEPARATION.mkdir(mode=0o755)
    (folder / "tmp").mkdir()
    for name in ("host_key", "other_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n"
        f"SetEnv TMPDIR={folder}/tmp\n"
    )
    (folder / "ssh_config").write_text(
        f"Host *\n  User {getpass.getuser()}\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile none\n"
        "  StrictHostKeyChecking no\n"  # what we say must win over it
    )
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stderr=log, env=dict(os.environ))
    server = Server(folder, port, process)
    trust(server, "host_key")
    try:
        _wait(server)
        yield server
    finally:
        server.hang_up()
        process.terminate()
        process.wait()
        log.close()


def trust(server: Server, key: str) -> None:
    """Let the client know the server by this key."""
    kind, text, *_ = (server.folder / f"{key}.pub").read_text().split()
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {kind} {text}\n")


def _wait(server: Server) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return
        if server.process.poll() is not None:
            pytest.skip(f"sshd does not start here: {(server.folder / 'log').read_text().strip()}")
        time.sleep(0.05)
    pytest.skip("sshd does not answer")
