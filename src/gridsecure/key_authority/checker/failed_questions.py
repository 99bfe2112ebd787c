"""Sealed questions that the checker fails at as nobody foresaw: tried some times, then refused.

A question that no release of the software could answer was asked again in every round, for ever:
its rosters were laid out and its columns blinded each time, and its asker was told nothing.

**Before the vault is asked** the checker has nothing of any reading but ciphertexts, so whether it
fails depends on the question, on who is in the rosters, on the policy and on what was told before.
A refusal may depend on these anyway. So after `MOST_ATTEMPTS` the question is refused for good
(`query.failed`), in words that are the same for all, to its asker alone; and its grant comes back
as with other refusals, because nothing was decrypted.

**From then on** a failure may depend on what the vault decrypted: a refusal would tell a bit of it,
for a grant that comes back. Such a question is never refused for failing. After as many attempts it
waits without being tried, as it did before, and the software's next release tries it again.

Counted is only what happens to a question whose grant is bound to it: nobody gets a grant back that
was none, and a platform cannot have questions refused by what it shows of others' uploads. What is
no fault of the question's (`GridSecureError`, a full disk, too little memory) is not counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridsecure.errors import GridSecureError, InputError
from gridsecure.key_authority.checker.query_answers import telling_refusals
from gridsecure.key_authority.checker.tables import FailedQuestionRow
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ReleaseRequest
from gridsecure.store.database import read_session, write_session
from gridsecure.store.rows import find

MOST_ATTEMPTS: Final = 3
"""How often a question may fail: a fault that passes by itself has passed by then."""
QUERY_FAILED: Final = "query.failed"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Attempt:
    """How far one attempt at a question came."""

    has_asked_vault: bool = False

    def asks_vault(self) -> None:
        """From here on what fails may depend on readings."""
        self.has_asked_vault = True


@contextmanager
def counting_failures(
    zone: AuthorityZone, request: ReleaseRequest, *, clock: Callable[[], datetime]
) -> Iterator[Attempt]:
    """Count how often a question fails as nobody foresaw, and refuse it where that may be told.

    Raises:
        ReleaseRefusedError: It failed too often (`release.query`).
        GridSecureError: It failed too often after the vault was asked, and is not tried
            (`release.unexpected`).
        Exception: What failed, while it may be tried again.
    """
    with read_session(zone.engine) as session:
        known = find(session, FailedQuestionRow, request_id=request.request_id)
    if known is not None and _is_given_up(zone, known):
        raise _given_up()
    attempt = Attempt()
    try:
        yield attempt
    except (GridSecureError, OSError, MemoryError):
        raise
    except Exception as error:  # what nobody foresaw is what is counted here
        if not _count(zone, request, attempt, at=clock()):
            raise
        # The type, and never the message, which may hold what was asked.
        _log.error(
            "request %s failed unexpectedly, and is refused: %s",
            request.request_id,
            type(error).__name__,
        )
        with telling_refusals(zone, request, at=clock()):
            raise _failed() from None


def _is_given_up(zone: AuthorityZone, known: FailedQuestionRow) -> bool:
    """Whether it failed too often by this software, and that may not be told."""
    return known.rules == zone.rules and known.asked_vault and known.attempts >= MOST_ATTEMPTS


def _count(zone: AuthorityZone, request: ReleaseRequest, attempt: Attempt, *, at: datetime) -> bool:
    """Count an attempt that failed.

    Returns:
        Whether it was the last one, and no attempt came as far as the vault.
    """
    with write_session(zone.engine) as session:
        row = find(session, FailedQuestionRow, request_id=request.request_id)
        if row is None:
            row = FailedQuestionRow(request_id=request.request_id, rules=zone.rules, at=at)
        if row.rules != zone.rules:  # other software may well answer it
            row.rules, row.attempts = zone.rules, 0
        row.attempts, row.at = row.attempts + 1, at
        row.asked_vault = row.asked_vault or attempt.has_asked_vault
        session.add(row)
        return row.attempts >= MOST_ATTEMPTS and not row.asked_vault


def _failed() -> InputError:
    return InputError(
        "The key authority failed to answer the question in a way that nobody foresaw.",
        reason=QUERY_FAILED,
        remedy="Nothing of it was told or spent, and the grant comes back. Ask another question, or"
        " tell whoever runs the key authority when you asked; its log has the kind of fault.",
    )


def _given_up() -> GridSecureError:
    return GridSecureError(
        "A question failed as often as it is tried by one release of the software.",
        reason="release.unexpected",
        remedy="Send its maker the type of error that stands in the key authority's log. The next"
        " release tries it again.",
    )
