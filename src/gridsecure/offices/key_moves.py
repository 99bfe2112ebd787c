"""A custodian's part in the states of key sets: looked at, and moved by the own signature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.messages import Signed, sign_message
from gridsecure.offices.officers import Call
from gridsecure.vault_messages import KeyLife, KeyMove, KeyState

KEY_SETS = "/gateway-key-sets"
MOVES = "/key-set-moves"


def read_life(call: Call, key_id: str) -> KeyLife:
    """How a key set stands at the vault, as the key authority carries it.

    Raises:
        GridSecureError: There is no such key set, or the vault is down.
    """
    told = call("authority", "GET", f"{KEY_SETS}/{key_id}/life")
    return KeyLife.parse(Signed.model_validate(told).body)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a custodian wants a key set to be.

    Args:
        until: As in `KeyMove`.
    """

    target: KeyState
    until: str = ""


def move_key_set(
    call: Call, key_id: str, wanted: Wanted, *, key: Sm2PrivateKey, now: datetime
) -> KeyLife:
    """Sign that a key set is to change its state, unless it has; how it stands then.

    Raises:
        GridSecureError: The vault refuses it, or is down.
    """
    life = read_life(call, key_id)
    if life.state == wanted.target:
        return life
    move = KeyMove(
        key_id=key_id,
        gateway=life.place.split(".")[0],
        target=wanted.target,
        after=len(life.moves),
        signed_at=now.isoformat(),
        until=wanted.until,
    )
    told = call("authority", "POST", MOVES, json=sign_message(move, key=key).model_dump())
    return KeyLife.parse(Signed.model_validate(told).body)


def revoke_key_set(call: Call, key_id: str, *, key: Sm2PrivateKey, now: datetime) -> None:
    """Revoke a key set by the own signature, and carry the revocation to the platform.

    Cut short anywhere, it is done to its end by the same again.

    Raises:
        GridSecureError: The vault or the platform refuses it, or is down.
    """
    move_key_set(call, key_id, Wanted("compromised"), key=key, now=now)
    revocation = call("authority", "POST", f"{KEY_SETS}/{key_id}/revoke")
    call("platform", "POST", "/key-revocations", json=revocation)


def target_of(signed: Signed) -> KeyState:
    """What a custodian wants a key set to be."""
    return KeyMove.parse(signed.body).target
