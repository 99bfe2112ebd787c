"""What the compute platform holds: ciphertexts, public keys, pseudonyms, public facts, its own key.

Never a plaintext, a homomorphic secret key or a name; an import rule keeps the secret-key module
out of reach of everything in this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from gridsecure.compute.containers import PlatformObjects
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.policy.language import Policy


@dataclass(frozen=True, slots=True)
class PlatformZone:
    """The platform's stores and the keys it trusts.

    Args:
        identity: The identity authority's key by thumbprint; gateways are known by it alone.
        authority: The key authority's key by thumbprint.
        office: The billing office's key by thumbprint; it closes months.
        policy: What may be released, as the key authority has it; a run's load curves are laid
            out by the one that held when it was planned.
    """

    engine: Engine
    objects: PlatformObjects
    signing_key: Sm2PrivateKey = field(repr=False)
    identity: Mapping[str, Sm2PublicKey]
    authority: Mapping[str, Sm2PublicKey]
    office: Mapping[str, Sm2PublicKey]
    policy: Policy
