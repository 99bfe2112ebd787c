"""What a certificate is replayed from: gathered once by a regulator, handed on as a folder.

    certificate.json    as the key authority signed it, without values
    messages.json       signed transcripts, rosters, uploads and notices of key sets
    objects/…           tariffs, seats, public keys and encrypted columns, each named by its digest

Nothing in it is believed because it is there (`replays`). It holds no secret key and no reading,
but every ciphertext: whoever has a secret key must never be given it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gridsecure import frames
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    AuditBrokenError,
    EnvelopeError,
    InvalidMessageError,
    NotFoundError,
)
from gridsecure.messages import (
    KeyNotice,
    ReleaseCertificate,
    RosterManifest,
    Signed,
    Transcript,
    UploadManifest,
)
from gridsecure.plans.transcript_inputs import pair_inputs
from gridsecure.store.objects import ObjectStore

Call = Callable[..., Any]
"""Calls a service as somebody who signed in: audience, method, path, options -> its answer."""

_AT_ONCE: Final = 500  # digests in one request
_MESSAGES: Final = TypeAdapter(list[Signed])


@dataclass(frozen=True, slots=True, eq=False)
class ReplayMaterial:
    """What was gathered, as `plans.transcript_inputs.PlatformView`.

    Args:
        envelopes: Signed messages by kind and digest.
        store: What they name.
    """

    envelopes: Mapping[tuple[str, str], Signed]
    store: ObjectStore

    def message(self, kind: str, digest: str) -> Signed:
        """A signed message.

        Raises:
            NotFoundError: It was not gathered (`replay.message`).
        """
        found = self.envelopes.get((kind, digest))
        if found is None:
            raise NotFoundError(
                f"The {kind} {digest} is not among the signed messages.",
                reason="replay.message",
                remedy="Have it exported again: `gridsecure evidence export` fetches all of them.",
            )
        return found

    def objects(self, digests: Sequence[str]) -> Iterator[bytes]:
        """Objects in their order; each was hashed again.

        Raises:
            GridSecureError: As `ObjectStore.get`.
        """
        return map(self.store.get, digests)

    def of_kind(self, kind: str) -> list[Signed]:
        """All signed messages of a kind."""
        return [signed for (own, _), signed in self.envelopes.items() if own == kind]


def read_messages(path: Path, *, store: ObjectStore) -> ReplayMaterial:
    """The signed messages in a file, and what they name in a store.

    Raises:
        NotFoundError: The file cannot be read (`replay.messages`).
        InvalidMessageError: It is no list of signed messages (`replay.messages`).
    """
    remedy = "Give the messages.json that `gridsecure evidence export` wrote, with --messages."
    try:
        found = _MESSAGES.validate_json(path.read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"{path.name} cannot be read.", reason="replay.messages", remedy=remedy
        ) from error
    except ValidationError as error:
        raise InvalidMessageError(
            f"{path.name} is no list of signed messages.", reason="replay.messages", remedy=remedy
        ) from error
    return ReplayMaterial({(one.body_kind, one.digest): one for one in found}, store)


def write_messages(messages: Iterable[Signed]) -> bytes:
    """Signed messages as `read_messages` reads them."""
    return _MESSAGES.dump_json(list(messages), indent=1)


def gather_material(
    certificate: ReleaseCertificate, *, call: Call, store: ObjectStore
) -> list[Signed]:
    """Fetch what a certificate rests on: messages are returned, objects go into the store.

    Objects that are there already and sound are not fetched again.

    Args:
        call: The platform and the key authority, as a regulator.

    Raises:
        GridSecureError: A service refuses, or lacks something that the certificate rests on.
        EnvelopeError: The platform sent something else than it was asked for.
        StorageError: The store refuses.
    """
    messages: dict[str, Signed] = {}
    objects: dict[str, None] = {}
    key_ids: set[str] = set()
    gateways: set[str] = set()

    def fetch(kind: str, digest: str) -> str:
        if digest not in messages:
            messages[digest] = _fetch_message(call, kind, digest)
        return messages[digest].body

    for digest in certificate.transcripts:
        transcript = Transcript.parse(fetch("transcript", digest))
        for roster_digest, upload_digest in pair_inputs(transcript):
            roster = RosterManifest.parse(fetch("roster", roster_digest))
            upload = UploadManifest.parse(fetch("upload", upload_digest))
            read = set(transcript.inputs.values())
            objects |= dict.fromkeys((roster.tariff, roster.seats))
            key_ids |= {entry.key_id for entry in upload.columns if entry.digest in read}
            gateways.add(roster.gateway_id)
        objects |= dict.fromkeys(transcript.inputs.values())
    for gateway in sorted(gateways):
        for signed in _fetch_notices(call, gateway):
            notice = KeyNotice.parse(signed.body)
            if notice.key_id in key_ids:
                messages[signed.digest] = signed
                named = (notice.public_key, notice.relinearisation_keys)
                objects |= dict.fromkeys(filter(None, named))
    _fetch_objects(call, list(objects), store=store)
    return list(messages.values())


def _fetch_message(call: Call, kind: str, digest: str) -> Signed:
    envelope = Signed.model_validate(call("platform", "GET", f"/messages/{kind}/{digest}"))
    if (envelope.body_kind, envelope.digest) != (kind, digest):
        raise EnvelopeError("The platform sent the wrong message.")
    return envelope


def _fetch_notices(call: Call, gateway: str) -> list[Signed]:
    listed = call("authority", "GET", "/gateway-key-sets", params={"gateway": gateway})
    return [Signed.model_validate(row["notice"]) for row in listed]


def _fetch_objects(call: Call, digests: Sequence[str], *, store: ObjectStore) -> None:
    wanted = [digest for digest in digests if not _is_sound(store, digest)]
    while wanted:
        asked = wanted[:_AT_ONCE]
        found = frames.split_frames(call("platform", "POST", "/objects", json={"digests": asked}))
        if not 0 < len(found) <= len(asked):
            raise EnvelopeError("The platform sent other objects than it was asked for.")
        for digest, data in zip(asked, found, strict=False):  # as many as one answer holds
            if sm3_hex(data) != digest:
                raise EnvelopeError("The platform sent the wrong object.")
            store.put(data, digest=digest)
        wanted = wanted[len(found) :]


def _is_sound(store: ObjectStore, digest: str) -> bool:
    try:
        store.get(digest)
    except (NotFoundError, AuditBrokenError):
        return False
    return True
