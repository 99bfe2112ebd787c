"""A zone's own keys in its own folder: made at first start, readable by its owner alone.

The SM2 key signs all that the zone says. Questions to the key authority are sealed to a second one,
which opens them and signs nothing; what they are blinded with follows from a third secret. The
Ed25519 key signs the checkpoints of its log and nothing else, beside the SM2 key, for those who
check with the world's tools.

The file's mode is what protects it; a deployment with a hardware module keeps it there instead.
The homomorphic secret key is not kept this way: the key authority seals it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gridsecure.crypto import ed25519
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key, private_key_from_bytes
from gridsecure.errors import InvalidMessageError, StorageError
from gridsecure.transparency.checkpoints import LogSigner
from gridsecure.whole_files import create_file

SIGNING_KEY: Final = "signing.key"
LOG_KEY: Final = "log.key"
QUERY_KEY: Final = "query.key"
BLINDING_KEY: Final = "blinding.key"
_BLINDING_BYTES: Final = 32
_OTHERS: Final = 0o077


def make_zone_folder(folder: Path) -> Path:
    """Make a zone's folder, for its owner alone, unless it is there.

    Raises:
        StorageError: The disk refuses.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(error) from error
    return folder


def load_signing_key(folder: Path) -> Sm2PrivateKey:
    """The zone's signing key, made now if there is none.

    Raises:
        StorageError: The disk refuses, others may read the file (`keys.permissions`), or it holds
            no key (`keys.damaged`).
    """
    return _load_key(folder, SIGNING_KEY)


def load_query_key(folder: Path) -> Sm2PrivateKey:
    """The key that questions to a zone are sealed to, made now if there is none.

    Raises:
        StorageError: As for `load_signing_key`.
    """
    return _load_key(folder, QUERY_KEY)


def load_blinding_key(folder: Path) -> bytes:
    """What the blinding of questions follows from [32 bytes], made now if there is none.

    Apart from the query key: who has that reads questions, and has nothing to unblind columns with.

    Raises:
        StorageError: The disk refuses, others may read the file (`keys.permissions`), or it holds
            no key (`keys.damaged`).
    """
    path = make_zone_folder(folder) / BLINDING_KEY
    data = load_secret(path, lambda: secrets.token_bytes(_BLINDING_BYTES))
    if len(data) != _BLINDING_BYTES:
        raise StorageError(
            f"{BLINDING_KEY} does not hold a key.",
            reason="keys.damaged",
            remedy="Restore the zone's folder from its backup.",
        )
    return data


def _load_key(folder: Path, name: str) -> Sm2PrivateKey:
    path = make_zone_folder(folder) / name
    return _key_in(path, load_secret(path, lambda: generate_private_key().to_bytes()))


def load_log_signer(folder: Path, *, log: str, key: Sm2PrivateKey) -> LogSigner:
    """What signs the checkpoints of a zone's log; its Ed25519 key is made now if there is none.

    Args:
        log: The log's name in the house, as `authority`; its origin is made of it and of the SM2
            key's thumbprint, so that no two zones share one.
        key: The zone's signing key.

    Raises:
        StorageError: As for `load_signing_key`.
    """
    path = make_zone_folder(folder) / LOG_KEY
    seed = load_secret(path, ed25519.generate_seed)
    if len(seed) != ed25519.KEY_BYTES:
        raise _damaged(path)
    return LogSigner(f"gridsecure/{log}/{key.public_key.thumbprint}", seed, key)


def read_private_key(path: Path) -> Sm2PrivateKey:
    """The SM2 key in a file of mode 0600, which must be there.

    Raises:
        StorageError: It is not there (`keys.missing`), or as `load_signing_key`.
    """

    def refuse() -> bytes:
        raise StorageError(
            f"There is no key in {path.name}.",
            reason="keys.missing",
            remedy="Check the path, or make one, and have its public half registered.",
        )

    return _key_in(path, load_secret(path, refuse))


def _key_in(path: Path, data: bytes) -> Sm2PrivateKey:
    try:
        return private_key_from_bytes(data)
    except InvalidMessageError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"{path.name} does not hold a key.",
        reason="keys.damaged",
        remedy="Restore its folder from its backup.",
    )


def load_secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """The secret in a file of mode 0600, made now if there is none.

    Two processes that start together end up with the same one.

    Args:
        path: Where it is kept.
        make: Draws a new one.

    Raises:
        StorageError: The disk refuses, or others may read the file (`keys.permissions`).
    """
    try:
        if not path.exists():
            with suppress(FileExistsError):  # another process was faster, and its key stands
                create_file(path, make())
        if path.stat().st_mode & _OTHERS:
            raise StorageError(
                f"Other users of this machine may read {path.name}.",
                reason="keys.permissions",
                remedy="Treat the key as exposed, replace it, and keep the file at mode 0600.",
            )
        return path.read_bytes()
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> StorageError:
    return StorageError(
        "The zone's folder cannot be used.",
        reason="storage.folder",
        remedy=f"Check its space and permissions ({error.strerror}).",
    )
