"""The batches of a search by person: what they are cut from, and what each step leaves behind.

    blind → blind-and-share → share → done

Between steps a batch holds the twice blinded pairs and the regulator's shares, in memory alone;
`drop` forgets them. Of its answers only digests go into the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlmodel import Session, col, select

from gridsecure.credentials.curves import Point
from gridsecure.credentials.log_details import STEP_OF, name_digest
from gridsecure.credentials.opening import verify_share
from gridsecure.credentials.revocation import Difference, is_zero
from gridsecure.credentials.search_pairs import bytes_of, check_blindings, compute_differences
from gridsecure.credentials.seats import BILLING
from gridsecure.credentials.suites import Suite, frame_parts
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import SignatureError
from gridsecure.identity.registrations.tables import RegistrationRow
from gridsecure.identity_messages import SearchAnswer, SearchStep, SearchWork


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """What a verified answer leaves behind.

    Args:
        pairs: The pairs, blinded once more where the step blinds.
        shares: Its shares, by pair.
    """

    pairs: list[Difference] = field(repr=False)
    shares: list[Point] = field(repr=False)


@dataclass(slots=True)
class SearchBatch:
    """One key beside some registrations, and how far it is.

    Args:
        number: Its place in the search.
        key: The enrolled key, in hexadecimal.
        escrows: Where it is searched for, in hexadecimal.
        subjects: Whose escrows these are; an office is told their digests.
        step: What it waits for.
        pairs: As blinded so far.
        shares: By office, the regulator first.
        digests: Of every answer, by step.
        officers: Who sent each, by step.
    """

    number: int
    key: str
    escrows: list[str]
    subjects: list[str]
    step: SearchStep | Literal["done"] = "blind"
    first: list[str] = field(default_factory=list, repr=False)
    mark: str = ""
    second: list[str] = field(default_factory=list, repr=False)
    pairs: list[Difference] = field(default_factory=list, repr=False)
    shares: list[list[Point]] = field(default_factory=list, repr=False)
    digests: dict[str, str] = field(default_factory=dict)
    officers: dict[str, str] = field(default_factory=dict)

    def work(self, entry: str, step: SearchStep) -> SearchWork:
        """The batch as the office sees it whose step is next.

        Args:
            entry: Hash of the order's log entry.
            step: What it waits for.
        """
        return SearchWork(
            entry=entry,
            batch=self.number,
            step=step,
            key=self.key,
            escrows=self.escrows,
            names=[name_digest(subject) for subject in self.subjects],
            first=self.first,
            mark=self.mark,
            second=self.second,
        )

    def move(self, answer: SearchAnswer, checked: CheckedAnswer, *, actor: str) -> None:
        """Keep one of the first two answers, for the next step.

        Args:
            checked: As verified.
        """
        self.officers[answer.step] = actor
        if answer.step == "blind":
            self.first, self.mark, self.step = answer.blindings, answer.mark, "blind-and-share"
        else:
            self.second, self.shares, self.step = answer.blindings, [checked.shares], "share"
        self.pairs = checked.pairs
        self.digests[answer.step] = _digest(answer)

    def drop(self) -> None:
        """It is decided: forget what could decide it again."""
        self.step, self.first, self.second, self.pairs, self.shares = "done", [], [], [], []


def cut_batches(session: Session, keys: Sequence[str], *, size: int) -> list[SearchBatch]:
    """Every key beside every billing registration that may act, gateways too, in batches.

    Args:
        session: Any session, on the database of registrations.
        keys: The person's enrolled keys, in hexadecimal.
        size: Registrations in a batch.
    """
    start = "/".join(BILLING) + "/"
    active = select(RegistrationRow.subject, RegistrationRow.escrow).where(
        RegistrationRow.state == "active",
        RegistrationRow.holder != b"",
        col(RegistrationRow.domain).startswith(start, autoescape=True),
    )
    searched = sorted((subject, escrow.hex()) for subject, escrow in session.exec(active))
    parts = [searched[at : at + size] for at in range(0, len(searched), size)]
    return [
        SearchBatch(number, key, [escrow for _, escrow in part], [subject for subject, _ in part])
        for number, (key, part) in enumerate((key, part) for key in keys for part in parts)
    ]


def check_answer(
    batch: SearchBatch, answer: SearchAnswer, *, head: str, public: Point, suite: Suite
) -> CheckedAnswer:
    """Verify every blinding and share of an answer to the step a batch waits for.

    Args:
        answer: What the office whose step it is sent.
        head: Hash of the log entry that holds the order.

    Raises:
        InvalidMessageError: Malformed points.
        SignatureError: A wrong blinding (`authenticity.blinding`) or share (`authenticity.share`),
            or another number of them.
    """
    opener = STEP_OF[answer.step]
    pairs = batch.pairs or compute_differences(batch.key, batch.escrows, suite=suite)
    if answer.step != "share":
        pairs = check_blindings(
            answer.blindings, pairs=pairs, opener=opener, head=head, suite=suite
        )
    wanted = pairs if answer.step != "blind" else []
    if len(answer.shares) != len(wanted):
        raise SignatureError(
            f"The {opener} gave the wrong number of shares.", reason="authenticity.share"
        )
    shares = [
        verify_share(
            bytes_of(share), opener=opener, public=public, point=pair.a, head=head, suite=suite
        )
        for share, pair in zip(answer.shares, wanted, strict=True)
    ]
    return CheckedAnswer(pairs, shares)


def find_matches(
    batch: SearchBatch, answer: SearchAnswer, checked: CheckedAnswer, *, suite: Suite
) -> tuple[list[str], dict[str, str]]:
    """The pseudonyms of a batch that match, and digests of all its answers for the log.

    Args:
        batch: It waited for the last step.
        checked: As verified.
    """
    (regulator,) = batch.shares
    rows = zip(batch.subjects, batch.pairs, regulator, checked.shares, strict=True)
    found = [
        subject for subject, pair, one, two in rows if is_zero(pair, shares=(one, two), suite=suite)
    ]
    return found, {**batch.digests, answer.step: _digest(answer)}


def _digest(answer: SearchAnswer) -> str:
    return sm3_hex(frame_parts(*answer.blindings, *answer.shares))
