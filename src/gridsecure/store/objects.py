"""Content-addressed objects by URL: every object is named by the SM3 digest of its bytes.

Invariants, whatever the store is:
- A name either shows the whole object or nothing, also after a killed writer.
- Storing the same bytes twice, also at the same moment from two processes, is storing them once.
- What is read was hashed again; a damaged object is reported, never returned. Storing the right
  bytes once more heals it.

A `file:` URL is a folder (`object_folder`); every other is served by `obstore` (`object_bucket`).
Credentials, endpoints and the like come from the environment and never stand in a URL, so that a
URL may be shown.

Not here: access control. Objects are ciphertexts; their envelopes protect them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, InputError, NotFoundError
from gridsecure.frames import FRAME_HEAD, join_frames
from gridsecure.store.object_folder import ObjectFolder, StoredObject, not_found

CONTAINER: Final = ".parts"
"""What the name of a container ends with, so that no object can be given its name."""

_NAME: Final = re.compile(rf"[0-9a-f]{{64}}({re.escape(CONTAINER)})?")
_SHARD_DIGITS: Final = 2  # 256 folders keep each of them small up to millions of objects
_HELD_BYTES: Final = 8 << 20
MEMORY: Final = "memory"
BUCKETS: Final = ("s3", "az", "gs")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an object lies within another, its container.

    Args:
        container: The name it is stored under; `digest` itself when it is stored alone.
        offset: Where it begins [bytes].
        length: How long it is [bytes].
    """

    digest: str
    container: str
    offset: int
    length: int


class Backend(Protocol):
    """What keeps bytes under names; errors are ours by then."""

    def read(self, name: str, /, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of a name, or a range of them; fewer where it ends earlier."""
        ...

    def write(self, name: str, data: bytes, /) -> None:
        """Keep bytes under a name, unless they are there already."""
        ...

    def size(self, name: str, /) -> int:
        """How long the bytes of a name are."""
        ...

    def list_stored(self) -> Iterator[StoredObject]:
        """What there is, in any order."""
        ...

    def remove(self, names: Sequence[str], /) -> None:
        """Remove names; one that is gone already is no error."""
        ...


class ObjectStore:
    """Objects by digest, in one place.

    Args:
        url: Where; it may be shown.
    """

    def __init__(self, url: str, backend: Backend) -> None:
        self.url = url
        self._backend = backend

    def __repr__(self) -> str:
        return f"ObjectStore({self.url!r})"

    def put(self, data: bytes, *, digest: str = "") -> str:
        """Store bytes and return their name.

        Args:
            digest: Its digest, from who has just computed it: hashing is most of the cost. A wrong
                one does no harm but to the caller, because `get` hashes again.

        Returns:
            Its SM3 digest, 64 lower-case hexadecimal digits.

        Raises:
            StorageError: The store is full, out of reach or refuses; nothing is visible under the
                name (`storage.write`, `storage.connection`, `storage.denied`).
        """
        digest = digest or sm3_hex(data)
        self._backend.write(_known(digest), data)
        return digest

    def get(self, digest: str) -> bytes:
        """Return an object's bytes after hashing them again.

        Args:
            digest: The name `put` returned.

        Raises:
            NotFoundError: No object has this name.
            AuditBrokenError: The stored bytes are not what the name says.
            StorageError: The store is out of reach or refuses to read (`storage.read`,
                `storage.connection`, `storage.denied`).
        """
        if digest.endswith(CONTAINER):
            raise not_found()
        return _checked(self._backend.read(_known(digest)), digest)

    def get_extent(self, extent: Extent) -> bytes:
        """Return the bytes of an object within a container after hashing them again.

        Raises:
            GridSecureError: As `get`.
        """
        name = _known(extent.container)
        return _checked(
            self._backend.read(name, start=extent.offset, length=extent.length), extent.digest
        )

    def has(self, digest: str) -> bool:
        """Say whether an object of this name is stored; its bytes are not checked.

        Args:
            digest: A name; anything that is not one is simply not stored.

        Raises:
            StorageError: The store is out of reach or refuses to say.
        """
        try:
            self.size(digest)
        except NotFoundError:
            return False
        return True

    def size(self, digest: str) -> int:
        """Return an object's length [bytes] without reading it.

        Args:
            digest: The name `put` returned.

        Raises:
            NotFoundError: No object has this name.
            StorageError: As `has`.
        """
        return self._backend.size(_known(digest))

    def list_stored(self) -> Iterator[StoredObject]:
        """What there is, in any order, and what killed writers left.

        Raises:
            StorageError: As `has`.
        """
        return self._backend.list_stored()

    def remove(self, objects: Sequence[StoredObject]) -> None:
        """Remove what `list_stored` gave; what is gone already is no error.

        Raises:
            StorageError: The store is out of reach or refuses.
        """
        self._backend.remove([one.name for one in objects])

    def discard(self, digest: str) -> None:
        """Remove an object that no row ever named.

        Raises:
            StorageError: As `remove`.
        """
        self._backend.remove([_known(digest)])


def open_objects(url: str) -> ObjectStore:
    """Open a store; nothing is read or written yet.

    Args:
        url: `file:///folder`, made when the first object is stored; `s3://bucket/prefix`,
            `az://container/prefix` or `gs://bucket/prefix`, with what `obstore` finds in the
            environment; `memory://`, for as long as this process lives.

    Raises:
        InputError: It is none of these, or holds a user, password or query (`objects.url`).
        StorageError: The environment does not say enough to open it (`storage.settings`).
    """
    try:
        asked = urlsplit(url)
        has_secrets = bool(asked.username or asked.password or asked.query or asked.fragment)
    except ValueError:
        raise _unusable() from None
    if has_secrets:
        raise _unusable()
    if asked.scheme == "file" and asked.netloc in {"", "localhost"} and asked.path:
        return ObjectStore(url, ObjectFolder(Path(unquote(asked.path))))
    if (asked.scheme == MEMORY and not asked.netloc) or (asked.scheme in BUCKETS and asked.netloc):
        # The library costs start-up time that a folder need not spend.
        from gridsecure.store.object_bucket import ObjectBucket  # noqa: PLC0415

        return ObjectStore(url, ObjectBucket(url))
    raise _unusable()


def store_together(store: ObjectStore, objects: Mapping[str, bytes]) -> tuple[Extent, ...]:
    """Store objects in one container, and say where they lie in it; one is stored alone.

    A container is named by its objects' names, which fix all of its bytes: hashing those once more
    would tell nothing new. They are framed, so that an index can be made anew from containers.

    Args:
        store: Where.
        objects: Their bytes by digest.

    Raises:
        StorageError: As `ObjectStore.put`.
    """
    if len(objects) == 1:
        ((digest, data),) = objects.items()
        return (Extent(digest, store.put(data, digest=digest), 0, len(data)),)
    name = sm3_hex("".join(objects).encode()) + CONTAINER
    store.put(join_frames(objects.values()), digest=name)
    extents, offset = [], 0
    for digest, data in objects.items():
        offset += FRAME_HEAD
        extents.append(Extent(digest, name, offset, len(data)))
        offset += len(data)
    return tuple(extents)


def store_as_made(store: ObjectStore, objects: Iterable[tuple[str, bytes]]) -> tuple[Extent, ...]:
    """Store objects as they are made, in containers as large as may be held at once.

    Args:
        store: Where.
        objects: Digests with bytes, of which none comes twice.

    Raises:
        StorageError: As `ObjectStore.put`.
    """
    extents: list[Extent] = []
    waiting: dict[str, bytes] = {}
    for digest, data in objects:
        waiting[digest] = data
        if sum(map(len, waiting.values())) >= _HELD_BYTES:
            extents += store_together(store, waiting)
            waiting = {}
    if waiting:
        extents += store_together(store, waiting)
    return tuple(extents)


def folder_url(folder: Path) -> str:
    """The URL of a folder of objects."""
    return folder.resolve().as_uri()


def folder_of(url: str) -> Path | None:
    """The folder of a URL that `open_objects` took; None where it names a bucket or memory."""
    asked = urlsplit(url)
    return Path(unquote(asked.path)) if asked.scheme == "file" else None


def _unusable() -> InputError:
    return InputError(
        "The URL of the object store cannot be used.",
        reason="objects.url",
        remedy="Write file:///folder, s3://bucket/prefix, az://container/prefix or "
        "gs://bucket/prefix, without user, password and query: credentials are read from the "
        "environment (docs/deployment.md).",
    )


def _known(digest: str) -> str:
    """The name within the backend; any other text could point out of a folder."""
    if _NAME.fullmatch(digest) is None:
        raise not_found()
    return f"{digest[:_SHARD_DIGITS]}/{digest[_SHARD_DIGITS:]}"


def _checked(data: bytes, digest: str) -> bytes:
    if sm3_hex(data) != digest:
        raise AuditBrokenError(
            f"The stored object {digest} was altered.",
            reason="audit.object",
            remedy="Store the original bytes again, and look for what altered them.",
        )
    return data
