"""A Dask cluster on this machine, under mutual TLS, whose processes a test may kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gridsecure.store.objects import folder_url

ROOT = Path(__file__).resolve().parents[1]
Process = subprocess.Popen[bytes]


def make_certificates(folder: Path) -> dict[str, Path]:
    """An authority, and one certificate of it that every process of the cluster shows."""
    made: list[tuple[ec.EllipticCurvePrivateKey, x509.Certificate]] = []
    for common_name in ("authority", "member"):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        signer, issuer = (made[0][0], made[0][1].subject) if made else (key, name)
        now = datetime.now(UTC)
        unsigned = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=12))
            .add_extension(x509.BasicConstraints(ca=not made, path_length=None), critical=True)
        )
        made.append((key, unsigned.sign(signer, SHA256())))
    folder.mkdir()
    files = {name: folder / f"{name}.pem" for name in ("ca", "certificate", "key")}
    files["ca"].write_bytes(made[0][1].public_bytes(Encoding.PEM))
    files["certificate"].write_bytes(made[1][1].public_bytes(Encoding.PEM))
    secret = made[1][0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files["key"].write_bytes(secret)
    return files


@dataclass(slots=True)
class DaskCluster:
    """A scheduler and its workers, all on one object store."""

    folder: Path
    objects: Path
    tls: dict[str, Path]
    port: int
    scheduler: Process | None = None
    workers: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"tls://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, object]:
        """The settings of a service that gives its jobs to this cluster."""
        return {"engine": self.url, **{f"engine_{name}": path for name, path in self.tls.items()}}

    def start_scheduler(self) -> None:
        at = ("--host", self.url, "--dashboard-address", "127.0.0.1:0")
        self.scheduler = self._start("scheduler", *at)

    def start_worker(self) -> None:
        alone = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0")
        plugin = ("--preload", "gridsecure_api.dask_worker")
        self.workers.append(self._start("worker", self.url, *alone, *plugin))

    def stop(self) -> None:
        for process in filter(None, (*self.workers, self.scheduler)):
            kill(process)

    def _start(self, program: str, *arguments: str) -> Process:
        files = ("--tls-ca-file", self.tls["ca"], "--tls-cert", self.tls["certificate"])
        folder = self.folder / "scratch"
        scratch = ("--local-directory", folder) if program == "worker" else ()
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "dask", program, *arguments, *files),
                    *("--tls-key", self.tls["key"], *scratch),
                ],
                env=os.environ | {"GRIDSECURE_DASK_OBJECTS": folder_url(self.objects)},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )


@contextmanager
def dask_cluster(folder: Path, *, objects: Path) -> Iterator[DaskCluster]:
    """A scheduler and two workers on a folder of objects."""
    folder.mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    cluster = DaskCluster(folder, objects, make_certificates(folder / "tls"), port)
    try:
        cluster.start_scheduler()
        for _ in range(2):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.stop()


def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
