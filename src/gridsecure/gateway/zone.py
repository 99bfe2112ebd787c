"""What the gateway holds: its area's plaintext readings, its signing key, public keys of peers.

Its folder: `zone.db` (records and evidence), `objects/` (tariffs and public keys by digest),
`outbox/` (encrypted columns until the platform has them) and `months/` (plaintext, mode 0600).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class GatewayZone:
    """The gateway's stores and keys.

    Args:
        engine: Its database.
        folder: Its own folder.
        objects: Tariffs' texts and the public keys it fetched.
        signing_key: Signs rosters and upload manifests.
        authority: The key authority's key by thumbprint.
        timezone: Local time of its meters.
    """

    engine: Engine
    folder: Path
    objects: ObjectStore
    signing_key: Sm2PrivateKey = field(repr=False)
    authority: Mapping[str, Sm2PublicKey]
    timezone: str = "Asia/Shanghai"

    @property
    def gateway_id(self) -> str:
        """Thumbprint of its signing key, by which peers know it."""
        return self.signing_key.public_key.thumbprint
