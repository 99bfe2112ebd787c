"""A custodian's part in the states of key sets: looked at, and moved by the own signature."""

from __future__ import annotations

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


def move_key_set(
    call: Call, key_id: str, target: KeyState, *, key: Sm2PrivateKey, now: datetime
) -> KeyLife:
    """Sign that a key set is to change its state; how it stands then.

    Raises:
        GridSecureError: The vault refuses it, or is down.
    """
    life = read_life(call, key_id)
    move = KeyMove(
        key_id=key_id,
        gateway=life.place.split(".")[0],
        target=target,
        after=len(life.moves),
        signed_at=now.isoformat(),
    )
    told = call("authority", "POST", MOVES, json=sign_message(move, key=key).model_dump())
    return KeyLife.parse(Signed.model_validate(told).body)


def target_of(signed: Signed) -> KeyState:
    """What a custodian wants a key set to be."""
    return KeyMove.parse(signed.body).target
