"""The platform client: tariffs, rosters and uploads, each step repeatable.

`deliver` sends one roster's month: roster, key sets, manifest, the objects the platform lacks,
commit.
Run again after any interruption it sends only what is still missing, and a committed upload is not
sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuditBrokenError, GridSecureError
from gridsecure.frames import CONTENT_TYPE, FRAME_HEAD, join_frames
from gridsecure.messages import KeyNotice, Signed
from gridsecure.wire.client import is_broken_off, service_client
from gridsecure.wire.platform import KeySetStatus, TariffKept, UploadStatus

MAX_BATCH_BYTES: Final = 32_000_000
"""Largest body of framed objects [bytes]. The platform keeps each body as one object."""

COMMITTED: Final = "committed"

OBJECTS: Final = "objects"
"""Tells who signs a request the digests of the objects that it brings."""

LoadColumns = Callable[[frozenset[str]], Iterator[tuple[str, bytes]]]
"""Yields the column files of the digests asked for, each with its digest."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is signed of one roster's month.

    Args:
        roster: The signed roster.
        manifest: The signed upload manifest.
        key_sets: The notices of the key sets that its columns are under.
    """

    roster: Signed
    seats: bytes
    manifest: Signed
    key_sets: tuple[Signed, ...]


class PlatformService(Protocol):
    """The compute platform as a gateway sends to it, whatever carries that."""

    def send_tariff(self, text: str, /) -> str:
        """Send a tariff's text and return its digest."""
        ...

    def register_roster(self, roster: Signed, seats: bytes, /) -> None:
        """Register a signed roster with the seats that it names."""
        ...

    def send_key_set(self, notice: Signed, /, *, load: Callable[[str], bytes]) -> None:
        """Send a key set with the objects that the platform lacks."""
        ...

    def begin_upload(self, manifest: Signed, /) -> UploadStatus:
        """Send an upload's signed manifest."""
        ...

    def send_objects(self, manifest: Signed, /, *, batch: Mapping[str, bytes]) -> None:
        """Send one batch of objects, by digest."""
        ...

    def commit_upload(self, manifest: Signed, /) -> UploadStatus:
        """Make an upload usable."""
        ...


class PlatformClient:
    """The compute platform over HTTP.

    Args:
        pause: Waits for so many seconds between attempts.
    """

    def __init__(self, http: httpx.Client, *, pause: Callable[[float], None]) -> None:
        self._peer = service_client(http, name="platform", pause=pause)
        self._has: set[str] = set()
        self._most_bytes = MAX_BATCH_BYTES

    def send_tariff(self, text: str) -> str:
        """Send a tariff's text, once for each process, and return its digest.

        Raises:
            GridSecureError: As `Client.post`; `audit.object` if the platform names other bytes.
        """
        body = text.encode()
        digest = sm3_hex(body)
        if digest in self._has:
            return digest
        response = self._peer.post("/tariffs", body=body, content_type="text/plain; charset=utf-8")
        if self._peer.read(response, TariffKept).digest != digest:
            raise AuditBrokenError(
                "The tariff text that the platform stored differs from the one sent.",
                reason="audit.object",
                remedy="Check the connection and the platform.",
            )
        self._has.add(digest)
        return digest

    def register_roster(self, roster: Signed, seats: bytes) -> None:
        """Register a signed roster with the seats that it names."""
        body = join_frames([roster.model_dump_json().encode(), seats])
        self._peer.post("/rosters", body=body, content_type=CONTENT_TYPE)

    def send_key_set(self, notice: Signed, *, load: Callable[[str], bytes]) -> None:
        """Send a key set with the objects that the platform lacks; once for each process.

        Args:
            notice: As the key authority signed it.
            load: Reads a key object by its digest.
        """
        if notice.digest in self._has:
            return
        parts = [notice.model_dump_json().encode()]
        answer = self._peer.read(self._post_frames("/key-sets", parts), KeySetStatus)
        if answer.missing:
            named = KeyNotice.parse(notice.body)
            digests = (named.public_key, named.relinearisation_keys)
            self._post_frames(
                "/key-sets", [*parts, *(load(digest) for digest in digests if digest)]
            )
        self._has.add(notice.digest)

    def _post_frames(self, path: str, parts: list[bytes]) -> httpx.Response:
        return self._peer.post(path, body=join_frames(parts), content_type=CONTENT_TYPE)

    def begin_upload(self, manifest: Signed) -> UploadStatus:
        """Send an upload's signed manifest."""
        return self._status(self._peer.post("/uploads", json=manifest.model_dump()), manifest)

    def send_objects(self, manifest: Signed, *, batch: Mapping[str, bytes]) -> None:
        """Send one batch of objects, by digest: in smaller bodies where the network cuts them.

        Of a body that is cut nothing is kept, so over a bad line a long one may never arrive.

        Raises:
            GridSecureError: As `Client.call`; `platform.unreachable` where a single object is
                broken off each time.
        """
        for body in group_objects(batch.items(), limit=self._most_bytes):
            try:
                self._send_body(manifest, body)
            except GridSecureError as error:
                if len(body) == 1 or not is_broken_off(error):
                    raise
                self._most_bytes = sum(map(len, body.values())) // 2
                self.send_objects(manifest, batch=body)

    def _send_body(self, manifest: Signed, objects: Mapping[str, bytes]) -> None:
        self._peer.call(
            "POST",
            f"/uploads/{manifest.digest}/objects",
            content=join_frames(objects.values()),
            headers={"Content-Type": CONTENT_TYPE},
            extensions={OBJECTS: tuple(objects)},
        )

    def commit_upload(self, manifest: Signed) -> UploadStatus:
        """Make an upload usable."""
        return self._status(self._peer.post(f"/uploads/{manifest.digest}/commit"), manifest)

    def _status(self, response: httpx.Response, manifest: Signed) -> UploadStatus:
        """Read a status; the platform must speak of the upload that was asked about."""
        answer = self._peer.read(response, UploadStatus)
        if answer.upload_id != manifest.digest:
            raise self._peer.words.malformed()
        return answer


def deliver(
    platform: PlatformService,
    delivery: Delivery,
    *,
    load: LoadColumns,
    load_object: Callable[[str], bytes],
    sent: Callable[[int], None],
) -> int:
    """Send one roster's month until it is committed.

    Args:
        delivery: What is signed.
        load: Reads column files from the outbox.
        load_object: Reads a key object by its digest.
        sent: Called after every batch with its number of objects.

    Returns:
        Bytes of column files sent.

    Raises:
        GridSecureError: As `Client.post`.
    """
    manifest = delivery.manifest
    platform.register_roster(delivery.roster, delivery.seats)
    for notice in delivery.key_sets:
        platform.send_key_set(notice, load=load_object)
    status = platform.begin_upload(manifest)
    if status.state == COMMITTED:
        return 0
    total = 0
    for batch in group_objects(load(frozenset(status.missing))):
        platform.send_objects(manifest, batch=batch)
        total += sum(map(len, batch.values()))
        sent(len(batch))
    platform.commit_upload(manifest)
    return total


def group_objects(
    objects: Iterable[tuple[str, bytes]], *, limit: int = MAX_BATCH_BYTES
) -> Iterator[dict[str, bytes]]:
    """Group objects, in their order, into bodies of at most `limit` bytes where they fit one."""
    batch: dict[str, bytes] = {}
    size = 0
    for digest, data in objects:
        framed = FRAME_HEAD + len(data)
        if batch and size + framed > limit:
            yield batch
            batch, size = {}, 0
        batch[digest] = data
        size += framed
    if batch:
        yield batch
