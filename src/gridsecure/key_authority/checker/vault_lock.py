"""Custodians and the vault, by way of the checker: carried, entered in the log, and not read.

What a custodian gives is sealed to a key that only the vault has, for one challenge; what the vault
says is signed by its own key, which custodians pin. The checker can keep them apart and lock the
vault, and that is all. Every share that was given is entered in the evidence log, by whom and what
came of it, and so is every refusal with its reason.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.vault_counts import check_counts
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.key_authority.packages import LockOrder
from gridsecure.messages import Signed, sign_message
from gridsecure.store import evidence
from gridsecure.store.database import write_session
from gridsecure.vault_messages import GivenShare, VaultStatus

_GIVEN: Final = "vault-share.given"
_REFUSED: Final = "vault-share.refused"
_LOCKED: Final = "vault-lock.ordered"


def read_status(zone: AuthorityZone, *, nonce: str = "") -> Signed:
    """How the vault stands, in its own word.

    Args:
        nonce: It is in the answer, for whoever drew it.

    Raises:
        GridSecureError: The vault is down (`vault.down`).
    """
    return zone.vault.status(nonce)


def give_share(zone: AuthorityZone, given: Signed, *, actor: str, at: datetime) -> Signed:
    """Hand a custodian's share on to the vault; how the vault stands then.

    Args:
        actor: Who brought it.

    Raises:
        InvalidMessageError: It is no share.
        GridSecureError: The vault refuses it, or is down, or its folder is an older one and it is
            given none (`check_counts`); that is entered in the log.
    """
    GivenShare.parse(given.body)  # what is none is nobody's attempt, and would fill the log
    try:
        check_counts(zone, at=at)
        status = zone.vault.give_share(given)
    except GridSecureError as error:
        said = {"signer": given.signer, "message": given.digest, "reason": error.reason}
        _enter(zone, _REFUSED, said, actor=actor, at=at)
        raise
    told = VaultStatus.parse(status.body)
    detail = {
        "signer": given.signer,
        "message": given.digest,
        "state": told.state,
        "splitting": told.splitting,
        "until": told.until,
    }
    _enter(zone, _GIVEN, detail, actor=actor, at=at)
    return status


def lock_vault(zone: AuthorityZone, *, actor: str, at: datetime, nonce: str = "") -> Signed:
    """Have the vault forget its key; how it stands then.

    Args:
        nonce: As for `read_status`.

    Raises:
        GridSecureError: The vault is down (`vault.down`): then it holds no key either.
    """
    order = LockOrder(ordered_at=at.isoformat(), nonce=nonce)
    status = zone.vault.lock(sign_message(order, key=zone.signing_key))
    _enter(zone, _LOCKED, {}, actor=actor, at=at)
    return status


def _enter(
    zone: AuthorityZone, action: str, detail: dict[str, str], *, actor: str, at: datetime
) -> None:
    with write_session(zone.engine) as session:
        evidence.append(session, at=at, actor=actor, action=action, detail=detail)
