"""What the checker signs is entered in its log first, and carries the proof of that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeVar

from sqlmodel import Session

from gridsecure.key_authority.checker.usage import BOOK
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import ReleaseCertificate, ShadowPreview
from gridsecure.store import evidence
from gridsecure.store.proved_entries import LOGGED, message_digest

NOT_ENTERED: Final = "0" * 64
"""Stands for the entry's name until there is one."""

MessageT = TypeVar("MessageT", ReleaseCertificate, ShadowPreview)


def enter_message(
    session: Session,
    zone: AuthorityZone,
    message: MessageT,
    *,
    about: tuple[str, Mapping[str, evidence.JSON]],
    at: datetime,
) -> MessageT:
    """Enter a message in the log; the message with the entry's name and proof.

    Args:
        message: Whole but for those two.
        about: The entry's action, and what else its detail says.

    Raises:
        StorageError: The log cannot be written.
    """
    action, detail = about
    digest = message_digest(message.model_dump_json())
    enter = BOOK.enter if action in BOOK.actions else evidence.append
    entry = enter(session, at=at, actor="checker", action=action, detail={**detail, LOGGED: digest})
    proof = zone.log.prove(session, entry).text
    return message.model_copy(update={"evidence_head": entry.hash, "log_proof": proof})
