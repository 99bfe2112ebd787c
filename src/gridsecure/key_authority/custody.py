"""Key sets at rest: the secret key sealed with SM4-GCM under a key-encryption key, in one file.

A key file is written whole or not at all and readable by its owner only. The public half stands
beside the sealed secret and is bound to it: the envelope's purpose names the digest of everything
else in the file, so that no byte of it can change unseen.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from gridsecure import frames
from gridsecure.crypto.envelope import open_sealed, seal
from gridsecure.crypto.keys import PublicKeySet
from gridsecure.crypto.parameters import parameters_named
from gridsecure.crypto.secret_key import SecretKeySet, generate_key_set, secret_key_set
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    ConflictError,
    EnvelopeError,
    InvalidMessageError,
    KeyMismatchError,
    StorageError,
)

SECRET_PURPOSE: Final = "homomorphic-secret-key"  # noqa: S105 - a purpose, not a secret
_SUFFIX: Final = ".keys"


def create_key_set(
    folder: Path, *, parameters_name: str, kek: bytes, created_at: datetime
) -> SecretKeySet:
    """Generate a key set and keep it sealed.

    Args:
        folder: The vault's folder.
        parameters_name: Parameter set; a folder holds at most one key set of each.
        kek: The 16-byte key-encryption key.
        created_at: Now.

    Raises:
        NotFoundError: No such parameter set.
        ConflictError: The folder already holds a key set of these parameters.
        StorageError: The disk refuses; no half-written file is left.
    """
    parameters = parameters_named(parameters_name)
    if _path(folder, parameters.name).exists():
        raise _existing(parameters.name)
    key_set = generate_key_set(parameters)
    keep_key_set(folder, key_set, kek=kek, created_at=created_at)
    return key_set


def keep_key_set(folder: Path, key_set: SecretKeySet, *, kek: bytes, created_at: datetime) -> None:
    """Keep a key set sealed.

    Args:
        folder: The vault's folder.
        key_set: The key set.
        kek: The 16-byte key-encryption key.
        created_at: Now.

    Raises:
        ConflictError: The folder already holds a key set of these parameters.
        StorageError: The disk refuses; no half-written file is left.
    """
    public = key_set.public
    parameters = public.parameters
    beside = [
        parameters.name.encode(),
        parameters.digest.encode(),
        public.public_key,
        public.relinearisation_keys,
    ]
    sealed = seal(
        key_set.to_bytes(),
        kek=kek,
        purpose=_purpose(beside),
        owner=public.key_id,
        created_at=created_at,
    )
    try:
        _write(_path(folder, parameters.name), frames.joined([sealed, *beside]))
    except FileExistsError as error:
        raise _existing(parameters.name) from error
    except OSError as error:
        raise StorageError(
            "A key file could not be written; nothing of it was kept.",
            remedy="Free space on the vault's disk and try again.",
        ) from error


def open_key_sets(folder: Path, *, kek: bytes) -> dict[str, SecretKeySet]:
    """Open every key set of a folder, by parameter set name.

    Raises:
        EnvelopeError: Another key-encryption key, or an altered file.
        KeyMismatchError: Halves that do not belong together, or a file under another name.
        StorageError: The disk refuses.
    """
    return {path.stem: _open(path, kek) for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def _open(path: Path, kek: bytes) -> SecretKeySet:
    try:
        content = frames.split(path.read_bytes())
    except OSError as error:
        raise StorageError(
            "A key file could not be read.", remedy="Check the vault's folder."
        ) from error
    except InvalidMessageError as error:
        raise _altered() from error
    if len(content) != 5:
        raise _altered()
    sealed, *beside = content
    secret = open_sealed(sealed, kek=kek, purpose=_purpose(beside))
    # From here on every byte is as it was written under this key-encryption key.
    name, digest, public_key, relinearisation = beside
    if name.decode() != path.stem:
        raise KeyMismatchError("A key file is not what its name says.", reason="keys.file")
    parameters = parameters_named(name.decode(), digest=digest.decode())
    return secret_key_set(secret, public=PublicKeySet(parameters, public_key, relinearisation))


def _purpose(beside: Sequence[bytes]) -> str:
    return f"{SECRET_PURPOSE}/{sm3_hex(frames.joined(beside))}"


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{_SUFFIX}"


def _existing(name: str) -> ConflictError:
    return ConflictError(
        f"A key set of {name} exists.",
        reason="keys.exists",
        remedy="Use it; replacing keys is a ceremony of its own.",
    )


def _altered() -> EnvelopeError:
    return EnvelopeError("A key file was altered.")


def _write(path: Path, data: bytes) -> None:
    """Let the file appear whole, under a name nobody took first, and stay after a power failure."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(partial)  # unlike renaming, never replaces a key set
    finally:
        partial.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # columns will be encrypted under this key: it may not vanish
    finally:
        os.close(folder)
