"""Trials: what would become of a question, before a grant is spent on it.

A pass names nobody. Its trials are seen to be one asker's, and nothing links them to a grant or to
a question that is asked: that is sealed anew, under a new reader.

Invariants:
- The wallet with the next number, and then the pass, are kept before they are used.
- An answer is shown only if the pinned authority signed it, and it is to this very query.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gridsecure.analyst.asking import Asking
from gridsecure.analyst.grants import QueryClient, wallet_of
from gridsecure.analyst.query_keys import take_query_keys
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.analyst.wallets import KeptPass, WalletFile, open_wallet
from gridsecure.credentials.grants import trial_quota
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.queries import RESULT_PURPOSE, sealed_query
from gridsecure.credentials.sealed_questions import QueryKeys, seal_question, write_question
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.padding import unpad
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, SignatureError
from gridsecure.messages import Signed, open_message
from gridsecure.queries.language import Question
from gridsecure.trial_answers import TRIALS_OF_PASS, TrialAnswer


def try_question(
    asking: Asking, wallet: Path, question: Question, *, size: int = 0, new_pass: bool = False
) -> Iterator[TrialAnswer]:
    """Try each period of a question: what would become of it, and what it would cost.

    Args:
        size: The public size of the envelope [bytes]; by default the smallest that holds it.
        new_pass: Whether it takes another pass than the trials before it: those of one pass are
            seen to be one asker's.

    Raises:
        InputError: No pass is left of this month (`grants.none-left`), or as `seal_question`.
        GridSecureError: A service refused, or cannot be reached.
    """
    if new_pass:
        with open_wallet(wallet, suite=sm2_suite()) as file:
            file.keep(replace(file.require(), trial_pass=None))
    for leg in question.legs:
        with open_wallet(wallet, suite=sm2_suite()) as file:
            client = asking.client_of(file)
            keys = take_query_keys(file, client, accepted=asking.query_key)
            held = _take_pass(asking, file, client)
        yield _try(client, leg, (held, keys), authority=asking.authority, size=size)


def _take_pass(asking: Asking, file: WalletFile, client: QueryClient) -> KeptPass:
    """The pass in use with one trial less, or a new one; kept on the disk before it is used."""
    wallet, now = file.require(), asking.clock()
    held = wallet.trial_pass
    if held is None or held.left < 1 or now >= held.expires_at:
        held = _new_pass(asking, file, client)
    held = replace(held, left=held.left - 1)
    file.keep(replace(file.require(), trial_pass=held))
    return held


def _new_pass(asking: Asking, file: WalletFile, client: QueryClient) -> KeptPass:
    wallet, now = file.require(), asking.clock()
    if wallet.credential is None:
        raise InputError(
            "The wallet holds no credential yet.",
            reason="grants.period",
            remedy="Enrol again: an earlier enrolment did not finish.",
        )
    own = trial_quota(
        wallet_of(wallet.credential, client.terms(now=now), before=wallet.grants).quota
    )
    used = wallet.passes_used if wallet.passes_epoch == own.epoch else 0
    if used >= own.limit:
        raise InputError(
            f"All {own.limit} passes for trials of this month are used.",
            reason="grants.none-left",
            remedy="Try again next month, or ask with a grant: it comes back if it is refused.",
        )
    file.keep(replace(wallet, passes_epoch=own.epoch, passes_used=used + 1))
    digest = secrets.token_bytes(32)
    token, expires_at = client.trial_pass(Wallet(wallet.credential, own, used), digest)
    return KeptPass(token, expires_at, TRIALS_OF_PASS)


def _try(
    client: QueryClient,
    question: Question,
    using: tuple[KeptPass, QueryKeys],
    *,
    authority: PinnedAuthority,
    size: int,
) -> TrialAnswer:
    (held, keys), reader, span = using, generate_private_key(), question.period.span
    content = write_question(question.text, reader=reader.public_key)
    query = sealed_query(
        span.start.isoformat(),
        span.end.isoformat(),
        reader=reader.public_key,
        sealed=seal_question(content, recipient=keys.seal, size=size),
    )
    sealed = client.try_query(query, token=held.token)
    text = unpad(open_from(sealed, private_key=reader, purpose=RESULT_PURPOSE))
    trusted = {authority.thumbprint: authority.key}
    answer = text and open_message(Signed.parse(text), expect=TrialAnswer, trusted=trusted)
    if not answer or answer.asked_by != sm3_hex(query.text.encode()):
        raise SignatureError(
            "The key authority sent the answer to another trial.",
            reason="release.swapped",
            remedy="Nothing of it is shown. Tell the security officer.",
        )
    return answer
