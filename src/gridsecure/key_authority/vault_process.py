"""The vault as a process of its own, reached only through the pipe its parent made.

Orders and answers are frames of bytes, so neither side unpickles what the other sends. The key-
encryption key is read from a file by the vault process itself: the checker never holds it. A
programming mistake ends the process, and the checker then finds it down: it fails closed.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from gridsecure import errors, frames
from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import parameters_named
from gridsecure.crypto.sm2 import Sm2PublicKey, cross_check
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.key_authority.packages import VaultAnswer
from gridsecure.key_authority.vault import Vault
from gridsecure.messages import Signed

_OK: Final = b"ok"
_REFUSED: Final = b"refused"
_KEK_BYTES: Final = 16
_CLASSES: Final = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, GridSecureError)
}


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """Where the vault keeps its keys and whom it obeys.

    Args:
        folder: Holds the sealed key files.
        kek_file: 16 bytes, readable by the vault's user only.
        checker: Point of the checker's SM2 key.
        billing_office: Point of the billing office's SM2 key.
    """

    folder: Path
    kek_file: Path
    checker: bytes
    billing_office: bytes


class VaultClient:
    """The checker's end of the pipe. Orders are answered one at a time.

    Args:
        settings: The vault's settings; the process starts at once.

    Raises:
        StorageError: The key-encryption key cannot be read, or others may read it (`vault.kek`).
        EnvelopeError: Another key-encryption key, or an altered key file.
        GridSecureError: The process ended while it started (`vault.down`).
    """

    def __init__(self, settings: VaultSettings) -> None:
        context = get_context("spawn")  # nothing of the checker's memory goes along
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings), daemon=True)
        self._process.start()
        theirs.close()
        self._lock = threading.Lock()
        try:
            self._asked("start", [])
        except GridSecureError:
            self.close()
            raise

    def create_key_set(self, order: Signed) -> PublicKeySet:
        """As `Vault.create_key_set`."""
        return _public(self._asked("create-key-set", [order.model_dump_json().encode()]))

    def revoke_key_set(self, order: Signed) -> None:
        """As `Vault.revoke_key_set`."""
        self._asked("revoke-key-set", [order.model_dump_json().encode()])

    def release_bills(
        self, order: Signed, files: Sequence[bytes]
    ) -> tuple[VaultAnswer, list[bytes]]:
        """As `Vault.release_bills`."""
        answer = self._asked("release-bills", [order.model_dump_json().encode(), *files])
        return VaultAnswer.parsed(answer[0]), answer[1:]

    def release_corrections(
        self, order: Signed, files: Sequence[bytes]
    ) -> tuple[VaultAnswer, list[bytes]]:
        """As `Vault.release_corrections`."""
        answer = self._asked("release-corrections", [order.model_dump_json().encode(), *files])
        return VaultAnswer.parsed(answer[0]), answer[1:]

    def release_totals(self, order: Signed, files: Sequence[bytes]) -> VaultAnswer:
        """As `Vault.release_totals`."""
        answer = self._asked("release-totals", [order.model_dump_json().encode(), *files])
        return VaultAnswer.parsed(answer[0])

    def close(self) -> None:
        """Stop the process."""
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def _asked(self, order: str, content: Sequence[bytes]) -> list[bytes]:
        with self._lock:
            try:
                self._pipe.send_bytes(frames.joined([order.encode(), *content]))
                status, *answer = frames.split(self._pipe.recv_bytes())
            except (EOFError, OSError) as error:
                raise GridSecureError(
                    "The vault process is not running.",
                    reason="vault.down",
                    remedy="Restart the key authority; nothing was released.",
                ) from error
        if status != _OK:
            kind, reason, message, remedy = (part.decode() for part in answer)
            raise _CLASSES.get(kind, GridSecureError)(message, reason=reason, remedy=remedy)
        return answer


def _serve(pipe: Connection, settings: VaultSettings) -> None:
    """Answer orders until the pipe closes."""
    # Ctrl-C reaches every process of a terminal; this one ends when the checker's end closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not write keys to the disk
    vault: Vault | None = None
    while True:
        try:
            order, *content = frames.split(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            if vault is None:
                cross_check()
                vault = _opened(settings)
            answer = [_OK, *_answer(vault, order.decode(), content)]
        except GridSecureError as error:
            texts = (type(error).__name__, error.reason, error.message, error.remedy)
            answer = [_REFUSED, *(text.encode() for text in texts)]
        with contextlib.suppress(OSError):  # the checker went away: the next read ends this
            pipe.send_bytes(frames.joined(answer))


def _opened(settings: VaultSettings) -> Vault:
    try:
        kek = settings.kek_file.read_bytes()
        is_private = not settings.kek_file.stat().st_mode & 0o077
    except OSError as error:
        raise _unusable_kek() from error
    if len(kek) != _KEK_BYTES or not is_private:
        raise _unusable_kek()
    return Vault(
        settings.folder,
        kek,
        Sm2PublicKey(settings.checker),
        Sm2PublicKey(settings.billing_office),
    )


def _unusable_kek() -> StorageError:
    return StorageError(
        "The key-encryption key cannot be read, is not 16 bytes, or other users may read it.",
        reason="vault.kek",
        remedy="Check the file's place, and keep it at mode 0600.",
    )


def _answer(vault: Vault, order: str, content: list[bytes]) -> list[bytes]:
    if order in ("release-bills", "release-corrections"):
        corrects = order == "release-corrections"
        release = vault.release_corrections if corrects else vault.release_bills
        answer, sealed = release(Signed.parsed(content[0]), content[1:])
        return [answer.model_dump_json().encode(), *sealed]
    if order == "release-totals":
        totals = vault.release_totals(Signed.parsed(content[0]), content[1:])
        return [totals.model_dump_json().encode()]
    if order == "create-key-set":
        return _described(vault.create_key_set(Signed.parsed(content[0])))
    if order == "revoke-key-set":
        vault.revoke_key_set(Signed.parsed(content[0]))
    return []  # and to "start", which only wants to know that the vault is there


def _described(public: PublicKeySet) -> list[bytes]:
    return [public.parameters.name.encode(), public.public_key, public.relinearisation_keys]


def _public(parts: Sequence[bytes]) -> PublicKeySet:
    name, public_key, relinearisation = parts
    return PublicKeySet(parameters_named(name.decode()), public_key, relinearisation)
