"""Bytes under names where obstore reaches: S3-compatible stores, Azure, Google, this memory.

What the library is told comes from the environment, as its documentation lists it (`AWS_…`,
`AZURE_…`, `GOOGLE_…`). A name is written only where it is absent, so of two writers one writes; a
write is whole or not at all, by the protocol.

The library's error texts name addresses and quote answers, and either may hold a credential (a
shared-access signature, a key's id). They are therefore read here, and not passed on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final, NoReturn

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import MemoryStore, from_url

from gridsecure.errors import NotFoundError, StorageError
from gridsecure.store.object_folder import StoredObject, not_found

RETRIES: Final = 4
"""How often a request is repeated after a lost connection or an answer that says "later"."""

RETRY_SECONDS: Final = 20
_STATUS: Final = re.compile(r"status code: (\d{3})")
_NOT_SATISFIABLE: Final = 416
_NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class ObjectBucket:
    """Bytes under names, one object each.

    Args:
        url: Where, without credentials.

    Raises:
        StorageError: The environment does not say enough to open it (`storage.settings`).
    """

    def __init__(self, url: str) -> None:
        self._store: Any = MemoryStore() if url.startswith("memory:") else _opened(url)

    def read(self, name: str, /, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a name, or a range of them.

        Raises:
            NotFoundError: There is no such name.
            StorageError: The store is out of reach or refuses.
        """
        try:
            if length is None:
                return bytes(obstore.get(self._store, name).bytes())[start:]
            if not length:  # which no request can ask for
                self.size(name)
                return b""
            return bytes(obstore.get_range(self._store, name, start=start, length=length))
        except (BaseError, OSError) as failed:
            if _status(failed) == _NOT_SATISFIABLE or "Invalid range" in str(failed):
                return b""  # it ends earlier: who asked hashes what there is
            _refuse(failed, "storage.read", "An object could not be read.")

    def write(self, name: str, data: bytes, /) -> None:
        """Keep bytes under a name, unless they are there already.

        Raises:
            StorageError: The store is full, out of reach or refuses.
        """
        try:
            self._put(name, data, mode="create")
        except AlreadyExistsError:
            if not self._holds(name, data):
                self._overwrite(name, data)
        except NotImplementedError:  # a store that cannot be asked to write only what is absent
            self._overwrite(name, data)
        except (BaseError, OSError) as failed:
            _refuse(failed, "storage.write", "An object could not be stored.")

    def size(self, name: str, /) -> int:
        """How long the bytes of a name are.

        Raises:
            NotFoundError: There is no such name.
            StorageError: The store is out of reach or refuses.
        """
        try:
            return int(obstore.head(self._store, name)["size"])
        except (BaseError, OSError) as failed:
            _refuse(failed, "storage.read", "An object could not be found.")

    def list_stored(self) -> Iterator[StoredObject]:
        """What there is.

        Raises:
            StorageError: The store is out of reach or refuses.
        """
        try:
            for page in obstore.list(self._store):
                for one in page:
                    yield StoredObject(one["path"], one["size"], one["last_modified"])
        except (BaseError, OSError) as failed:
            _refuse(failed, "storage.read", "The objects could not be listed.")

    def remove(self, names: Sequence[str], /) -> None:
        """Remove names.

        Raises:
            StorageError: The store is out of reach or refuses.
        """
        try:
            obstore.delete(self._store, list(names))
        except FileNotFoundError as failed:  # Google and Azure mind what is gone, and stop there
            if any(word in str(failed) for word in _NO_BUCKET):
                _refuse(failed, "storage.write", "An object could not be removed.")
            for name in names if len(names) > 1 else ():
                self.remove([name])
        except (BaseError, OSError) as failed:
            _refuse(failed, "storage.write", "An object could not be removed.")

    def _holds(self, name: str, data: bytes) -> bool:
        """Say whether what is there is right: not damaged, and not removed again meanwhile."""
        try:
            return self.read(name) == data
        except NotFoundError:
            return False

    def _overwrite(self, name: str, data: bytes) -> None:
        try:
            self._put(name, data, mode="overwrite")
        except (BaseError, OSError) as failed:
            _refuse(failed, "storage.write", "An object could not be stored.")

    def _put(self, name: str, data: bytes, *, mode: Any) -> None:
        # In one request: an upload in parts could not be kept from replacing what is there.
        obstore.put(self._store, name, data, mode=mode, use_multipart=False)


def _opened(url: str) -> object:
    backoff = {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    }
    bounds: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": backoff,
    }
    try:
        return from_url(url, retry_config=bounds)
    except (BaseError, ValueError):
        raise StorageError(
            "The environment's settings for the object store are missing or wrong.",
            reason="storage.settings",
            remedy="Set the variables of its provider, for s3: AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT (docs/deployment.md).",
        ) from None


def _status(failed: Exception) -> int | None:
    found = _STATUS.search(str(failed))
    return int(found[1]) if found else None


def _refuse(failed: Exception, reason: str, what: str) -> NoReturn:
    """Say in our own words why the store did not do it."""
    text, status = str(failed), _status(failed)
    if any(word in text for word in _NO_BUCKET):
        remedy = "Create the bucket, or correct the URL of the object store."
    elif isinstance(failed, FileNotFoundError) and reason == "storage.read":
        raise not_found() from None
    elif isinstance(failed, PermissionDeniedError | UnauthenticatedError) or status in {401, 403}:
        raise StorageError(
            f"{what} The object store denies access.",
            reason="storage.denied",
            remedy="Check the credentials in the environment and what they may do in the bucket.",
        ) from None
    elif status is None:
        raise StorageError(
            f"{what} The object store is out of reach.",
            reason="storage.connection",
            remedy="Check the object store's address and the network, then try again.",
        ) from None
    else:
        remedy = f"The object store answered {status}: check its health and space, then try again."
    raise StorageError(what, reason=reason, remedy=remedy) from None
