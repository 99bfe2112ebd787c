"""Grants that came back with refusals: taken into the wallet, and used after the others.

Invariants:
- A ticket is drawn for each question and used once: the wallet forgets it as it takes the grant.
- A returned grant leaves the wallet before its seed is told to anybody, so no seed is told twice.
  Like any grant, it counts as used when the answer is lost on the way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gridsecure.analyst.grants import QueryClient
from gridsecure.analyst.queries import Grant
from gridsecure.analyst.wallets import WalletFile
from gridsecure.credentials.grants import Quota
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.queries import Query
from gridsecure.credentials.returned_grants import Ticket, returned_quota, take_back
from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import AuthenticityError
from gridsecure.sealed_answers import QueryAnswer


def keep_returned(file: WalletFile, grant: Grant, answer: QueryAnswer, *, at: datetime) -> None:
    """Take the grant that came back with a refusal into the wallet; again is the same.

    Args:
        grant: Which was spent on the question. It stays, so that who asks again reads the refusal.
        answer: In the pinned authority's word.
        at: The present, aware.

    Raises:
        AuthenticityError, InvalidMessageError: As `take_back`.
    """
    wallet = file.require()
    known = [one for one in wallet.in_use if one.query.text == grant.query.text and one.ticket]
    if not answer.returned or not known:
        return
    ticket = Ticket.from_bytes(known[0].ticket, suite=file.suite)
    came = take_back(ticket, bytes.fromhex(answer.returned), suite=file.suite)
    left = wallet.drop_grant(grant.query.text, at=at).add_grant(replace(known[0], ticket=b""))
    file.keep(replace(left, returned=(*left.returned, came)))


def use_returned(
    file: WalletFile, client: QueryClient, quota: Quota, asking: tuple[Query, Sm2PrivateKey]
) -> Grant | None:
    """A grant for a query in exchange for one that came back, if there is one that may be used.

    Args:
        quota: Of this month's grants.
        asking: The query, and the key that its result is sealed to.

    Returns:
        None if there is none, or the authority takes it no more; then it is forgotten.

    Raises:
        GridSecureError: A service cannot be reached; the returned grant counts as used.
    """
    own, wallet = returned_quota(quota), file.require()
    used = wallet.returned_used if wallet.returned_epoch == own.epoch else 0
    if not wallet.returned or wallet.credential is None or used >= own.limit:
        return None
    first, *rest = wallet.returned
    file.keep(
        replace(wallet, returned=tuple(rest), returned_epoch=own.epoch, returned_used=used + 1)
    )
    try:
        return client.use_returned(first, Wallet(wallet.credential, own, used), asking)
    except AuthenticityError:  # as after its query key was renewed
        return None
