"""An analyst's wallet as a file: secrets, credential, how many grants are used, grants in use.

The file is readable by its owner only, replaced as a whole, and locked while it is open, so that
two commands at once never use one nonce. It is written before anything that follows from it is
sent. A copy brought back from a backup would use nonces again: keep no copies.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from gridsecure.analyst.queries import Grant
from gridsecure.credentials.grants import Quota
from gridsecure.credentials.holder import Holder, Wallet
from gridsecure.credentials.issuance import Credential
from gridsecure.credentials.issuer_keys import Context
from gridsecure.credentials.pinning import read_keys
from gridsecure.credentials.queries import Query, parse_query
from gridsecure.credentials.returned_grants import ReturnedGrant, returned_quota
from gridsecure.credentials.sealed_questions import SealedQuestion
from gridsecure.credentials.suites import Suite
from gridsecure.crypto.sm2 import private_key_from_bytes
from gridsecure.errors import (
    AuthenticityError,
    InvalidMessageError,
    NotFoundError,
    StorageError,
)
from gridsecure.identity_messages import IdentityKeys
from gridsecure.messages import Message
from gridsecure.whole_files import replace_file

_OTHERS: Final = 0o077
_SCALAR: Final = r"^[0-9a-f]{64}$"


class _GrantText(Message):
    """A grant as kept."""

    kind: ClassVar[str] = "kept-grant"
    query: str
    reader: str = Field(pattern=_SCALAR, repr=False)
    platform: str = Field(repr=False)
    authority: str = Field(repr=False)
    expires_at: str
    content: str = Field(default="", repr=False)
    ticket: str = Field(default="", repr=False)


class _PassText(Message):
    """A pass for trials as kept."""

    kind: ClassVar[str] = "kept-pass"
    token: str = Field(repr=False)
    expires_at: str
    left: int


class _WalletText(Message):
    """The file's content."""

    kind: ClassVar[str] = "wallet"
    keys: IdentityKeys
    m1: str = Field(pattern=_SCALAR, repr=False)
    r1: str = Field(pattern=_SCALAR, repr=False)
    period: str = ""
    credential: str = Field(default="", pattern=r"^([0-9a-f]{132})?$", repr=False)
    epoch: str = ""
    limit: int = 0
    next_nonce: int = Field(default=0, ge=0)
    grants: list[_GrantText] = Field(default_factory=list)
    returned: list[tuple[str, str]] = Field(default_factory=list, repr=False)
    returned_epoch: str = ""
    returned_used: int = Field(default=0, ge=0)
    passes_epoch: str = ""
    passes_used: int = Field(default=0, ge=0)
    trial_pass: _PassText | None = None
    query_key: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


@dataclass(frozen=True, slots=True)
class KeptPass:
    """A pass for trials.

    Args:
        left: How often it tries a question still.
    """

    token: str = field(repr=False)
    expires_at: datetime
    left: int


@dataclass(frozen=True, slots=True)
class KeptWallet:
    """What an analyst keeps.

    Args:
        keys: The identity authority's keys, as pinned at the first enrolment.
        m1: The secret.
        r1: What hides it from the issuer.
        credential: Of the year enrolled for last, None before.
        grants: The grants of the month asked in last, None before.
        in_use: Grants that were given for queries whose answers were not read yet.
        returned: Grants that came back with refusals and were not used yet.
        returned_epoch: The month in which one was used last, as `returned_quota` names it.
        returned_used: How many were used in it.
        passes_epoch: The month in which a pass for trials was taken last; likewise.
        trial_pass: The last one.
        query_key: Thumbprint of the authority's query keys, as first seen or accepted.
    """

    keys: IdentityKeys
    m1: int = field(repr=False)
    r1: int = field(repr=False)
    credential: Credential | None = field(default=None, repr=False)
    grants: Wallet | None = field(default=None, repr=False)
    in_use: tuple[Grant, ...] = ()
    returned: tuple[ReturnedGrant, ...] = field(default=(), repr=False)
    returned_epoch: str = ""
    returned_used: int = 0
    passes_epoch: str = ""
    passes_used: int = 0
    trial_pass: KeptPass | None = None
    query_key: str = ""

    def holder(self, suite: Suite) -> Holder:
        """Who acts with these secrets.

        Raises:
            GridSecureError: The pinned keys are none.
        """
        return Holder(suite, read_keys(self.keys, suite=suite), self.m1, self.r1)

    @property
    def left(self) -> int:
        """How many grants are left of the month asked in last, with those that came back."""
        if self.grants is None:
            return 0
        own = returned_quota(self.grants.quota)
        used = self.returned_used if self.returned_epoch == own.epoch else 0
        back = min(len(self.returned), own.limit - used)
        return self.grants.quota.limit - self.grants.next_nonce + back

    def grant_for(self, query: Query, *, at: datetime) -> Grant | None:
        """A grant in use that is still good, for a query that asks the same."""
        found = [g for g in self.in_use if g.query.asks_like(query) and g.is_valid(at=at)]
        return found[0] if found else None

    def grant_for_question(self, question: str, query: Query, *, at: datetime) -> Grant | None:
        """A grant in use that is still good, for a sealed question.

        Args:
            question: Its one spelling.
            query: Another one that carries it: an envelope is never the same twice.
        """
        for grant in self.in_use:
            if not grant.content or not grant.is_valid(at=at):
                continue
            same = grant.query.model_copy(update={"sealed": query.sealed})
            if same.asks_like(query) and SealedQuestion.parse(grant.content).question == question:
                return grant
        return None

    def add_grant(self, grant: Grant) -> KeptWallet:
        """The wallet with a grant in use."""
        return replace(self, in_use=(*self.in_use, grant))

    def drop_grant(self, query: str, *, at: datetime) -> KeptWallet:
        """The wallet without the grants of a query that is answered, and without expired ones."""
        left = tuple(g for g in self.in_use if g.query.text != query and g.is_valid(at=at))
        return replace(self, in_use=left)


def make_wallet(keys: IdentityKeys, *, suite: Suite) -> KeptWallet:
    """Draw the secrets of a new analyst.

    Args:
        keys: Checked by `check_statements`.
    """
    return KeptWallet(keys, suite.group.random_scalar(), suite.group.random_scalar())


@dataclass(slots=True)
class WalletFile:
    """A wallet's file, locked; make it with `open_wallet`.

    Args:
        wallet: What it holds; None where there is no file yet.
    """

    path: Path
    suite: Suite
    wallet: KeptWallet | None

    def keep(self, wallet: KeptWallet) -> None:
        """Replace the file; when this returns, the new one is on the disk.

        Raises:
            StorageError: The disk refuses; the earlier file is untouched (`storage.failed`).
        """
        _replace(self.path, _written(wallet, self.suite))
        self.wallet = wallet

    def require(self) -> KeptWallet:
        """The wallet.

        Raises:
            NotFoundError: There is no file (`wallet.missing`).
        """
        if self.wallet is None:
            raise NotFoundError(
                "There is no wallet here.", reason="wallet.missing", remedy="Enrol first."
            )
        return self.wallet


@contextmanager
def open_wallet(path: Path, *, suite: Suite) -> Iterator[WalletFile]:
    """Lock a wallet's file and read it; others wait until it is closed.

    Args:
        path: The file; its folder must exist.

    Raises:
        StorageError: The disk refuses, others may read the file (`wallet.permissions`), or it is
            damaged (`wallet.damaged`).
    """
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _refused(error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield WalletFile(path, suite, _read(path, suite))
    finally:
        os.close(lock)


def _read(path: Path, suite: Suite) -> KeptWallet | None:
    try:
        if not path.exists():
            return None
        if path.stat().st_mode & _OTHERS:
            raise StorageError(
                "Other users of this machine may read the wallet.",
                reason="wallet.permissions",
                remedy="Treat its secrets as known: enrol anew with the identity authority, and "
                "keep the file at mode 0600.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise _refused(error) from error
    try:
        return _parsed(_WalletText.parse(data), suite)
    except (InvalidMessageError, AuthenticityError, ValueError) as error:
        raise StorageError(
            "The wallet file does not hold a wallet.",
            reason="wallet.damaged",
            remedy="Enrol again. Do not restore an old copy: its grants may have been used.",
        ) from error


def _parsed(text: _WalletText, suite: Suite) -> KeptWallet:
    m1, r1 = suite.group.decode_scalars(bytes.fromhex(text.m1 + text.r1))
    credential, grants = None, None
    if text.credential:
        points = bytes.fromhex(text.credential)
        u, u_prime = suite.group.decode_points(points)
        credential = Credential(m1, u, u_prime, Context("analyst", text.period))
        if text.epoch:
            quota = Quota(credential.context, text.epoch, text.limit)
            grants = Wallet(credential, quota, text.next_nonce)
    return KeptWallet(
        text.keys,
        m1,
        r1,
        credential,
        grants,
        tuple(map(_read_grant, text.grants)),
        tuple(ReturnedGrant(*map(bytes.fromhex, one)) for one in text.returned),
        text.returned_epoch,
        text.returned_used,
        text.passes_epoch,
        text.passes_used,
        _read_pass(text.trial_pass),
        text.query_key,
    )


def _read_grant(text: _GrantText) -> Grant:
    return Grant(
        parse_query(text.query),
        private_key_from_bytes(bytes.fromhex(text.reader)),
        text.platform,
        text.authority,
        datetime.fromisoformat(text.expires_at),
        text.content,
        bytes.fromhex(text.ticket),
    )


def _read_pass(text: _PassText | None) -> KeptPass | None:
    if text is None:
        return None
    return KeptPass(text.token, datetime.fromisoformat(text.expires_at), text.left)


def _written(wallet: KeptWallet, suite: Suite) -> bytes:
    m1, r1 = (suite.group.encode_scalars(secret).hex() for secret in (wallet.m1, wallet.r1))
    text = _WalletText(keys=wallet.keys, m1=m1, r1=r1)
    if wallet.credential is not None:
        shown = (wallet.credential.u, wallet.credential.u_prime)
        points = b"".join(map(suite.group.encode, shown)).hex()
        period = wallet.credential.context.period
        text = text.model_copy(update={"credential": points, "period": period})
    if wallet.grants is not None:
        quota = wallet.grants.quota
        counted = {"epoch": quota.epoch, "limit": quota.limit}
        text = text.model_copy(update=counted | {"next_nonce": wallet.grants.next_nonce})
    kept = list(map(_write_grant, wallet.in_use))
    back = {
        "returned": [(one.seed.hex(), one.value.hex()) for one in wallet.returned],
        "returned_epoch": wallet.returned_epoch,
        "returned_used": wallet.returned_used,
        "passes_epoch": wallet.passes_epoch,
        "passes_used": wallet.passes_used,
        "query_key": wallet.query_key,
    }
    if (held := wallet.trial_pass) is not None:
        said = _PassText(token=held.token, expires_at=held.expires_at.isoformat(), left=held.left)
        text = text.model_copy(update={"trial_pass": said})
    return text.model_copy(update={"grants": kept} | back).model_dump_json().encode()


def _write_grant(grant: Grant) -> _GrantText:
    return _GrantText(
        query=grant.query.text,
        reader=grant.reader.to_bytes().hex(),
        platform=grant.platform,
        authority=grant.authority,
        expires_at=grant.expires_at.isoformat(),
        content=grant.content,
        ticket=grant.ticket.hex(),
    )


def _replace(path: Path, data: bytes) -> None:
    try:
        replace_file(path, [data])
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> StorageError:
    return StorageError(
        "The wallet cannot be used.",
        remedy=f"Check its folder, permissions and the disk ({error.strerror}).",
    )
