"""What the gateway holds: its area's plaintext readings, its secrets, public keys of peers.

Its folder: `zone.db` (records and evidence), `objects/` (tariffs, seats and public keys by digest),
`outbox/` (encrypted columns until the platform has them) and `months/` (plaintext, mode 0600).

It has two names. The identity service and the key authority know it by its signing key, as a
service. The platform knows it by a pseudonym of the year (`agents`), under which it signs rosters
and uploads; nothing that goes there carries the other name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from gridsecure.credentials.opening import Opener
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.gateway.collection import MAX_READINGS
from gridsecure.store.objects import ObjectStore
from gridsecure.store.shared_turns import SharedTurns


@dataclass(frozen=True, slots=True)
class PinnedKeys:
    """Keys of the identity authority that the gateway was told; it takes none from an answer.

    Args:
        identity: Of the service: what enrolment is sealed to, and its word is signed with.
        signers: Of both openers, which sign what holders pin.
    """

    identity: Sm2PublicKey
    signers: Mapping[Opener, Sm2PublicKey]


@dataclass(frozen=True, slots=True)
class GatewayZone:
    """The gateway's stores and keys.

    Args:
        objects: Tariffs' texts, rosters' seats and the public keys it fetched.
        signing_key: By which services know it; signs enrolment orders and log-ins of the service.
        authority: The key authority's key by thumbprint.
        seed: What the secrets of all its holders follow from [32 bytes].
        timezone: Local time of its meters.
        max_readings: Readings of a month that are held at once.
        batch_turns: At which batches that come at once are committed together.
    """

    engine: Engine
    folder: Path
    objects: ObjectStore
    signing_key: Sm2PrivateKey = field(repr=False)
    authority: Mapping[str, Sm2PublicKey]
    pinned: PinnedKeys
    seed: bytes = field(repr=False)
    timezone: str = "Asia/Shanghai"
    max_readings: int = MAX_READINGS
    batch_turns: SharedTurns[Any, Any] = field(
        default_factory=SharedTurns, repr=False, compare=False
    )

    @property
    def service_id(self) -> str:
        """Thumbprint of its signing key: its name as a service, and in its own evidence log."""
        return self.signing_key.public_key.thumbprint
