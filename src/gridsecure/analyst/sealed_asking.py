"""A sealed question, asked without a name: sealed here, followed, and its answer verified here.

What the key authority need not know stays here: rates, weights and given amounts are the asker's
own, and are multiplied with totals on this machine. Only what says whom totals are of, and when,
travels, and that sealed.

Invariants:
- What is sealed is kept in the wallet with its grant before anything is sent, so that an answer can
  be told from another's.
- An answer is shown only if the pinned authority signed it, and its certificate names this very
  question under the salt that comes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gridsecure.analyst.asking import Asking
from gridsecure.analyst.desk import Answer, Joining, conclude
from gridsecure.analyst.grants import QueryClient
from gridsecure.analyst.queries import Grant
from gridsecure.analyst.query_keys import take_query_keys
from gridsecure.analyst.releases import PinnedAuthority, Release, ReleasedCell, verify_release
from gridsecure.analyst.returned_grants import keep_returned
from gridsecure.analyst.wallets import WalletFile, open_wallet
from gridsecure.credentials.access import query_subject
from gridsecure.credentials.queries import sealed_query
from gridsecure.credentials.returned_grants import new_ticket
from gridsecure.credentials.sealed_questions import (
    SealedQuestion,
    question_digest,
    seal_question,
    write_question,
)
from gridsecure.credentials.suites import sm2_suite
from gridsecure.crypto.padding import unpad
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import ReleaseRefusedError, SignatureError
from gridsecure.messages import Digest, Signed, open_message
from gridsecure.plans.noise import NoiseStatement
from gridsecure.queries.language import Question
from gridsecure.queries.totals import GroupCount, StepSpan, Totals
from gridsecure.sealed_answers import QueryAnswer


@dataclass(frozen=True, slots=True)
class SealedAnswer:
    """What an analyst learns of a question.

    Args:
        answer: With one release for each of its legs.
        closings: Digests of the closing lists that the platform had it asked over.
        noise: What was added to the totals of each leg that has noise.
        left: Grants that are left of the month.
        limit: Grants of a month.
        left_out: Rosters of these lists that are in no group: their days are divided otherwise.
    """

    answer: Answer
    closings: tuple[Digest, ...]
    noise: tuple[NoiseStatement, ...]
    left: int
    limit: int
    left_out: int


def ask_question(
    asking: Asking,
    wallet: Path,
    question: Question,
    *,
    size: int = 0,
    joining: Joining | None = None,
) -> SealedAnswer:
    """Ask a question and wait for its answer; go on where an earlier call gave up.

    Each period of it takes a grant.

    Args:
        size: The public size of the envelope [bytes]; by default the smallest that holds it.
        joining: Series that the question names; nobody is told of them.

    Raises:
        ReleaseRefusedError: It was refused; with the reason that the authority tells its asker.
        GridSecureError: As `Asking.take_grant` and `QueryClient.wait`.
    """
    series = joining.choose(question) if joining is not None else {}
    found = [_ask_leg(asking, wallet, leg, size=size) for leg in question.legs]
    releases = [leg.release for leg in found]
    totals = [leg.totals for leg in found]
    answer = conclude(question, totals, releases=releases, series=series)
    with open_wallet(wallet, suite=sm2_suite()) as file:
        kept = file.require()
    limit = kept.grants.quota.limit if kept.grants else 0
    closings = tuple(dict.fromkeys(name for leg in found for name in leg.closings))
    noise = tuple(leg.noise for leg in found if leg.noise is not None)
    left_out = sum(leg.left_out for leg in found)
    return SealedAnswer(answer, closings, noise, kept.left, limit, left_out)


class AnsweredLeg(NamedTuple):
    """One period's verified answer, its closing lists and noise, and rosters left out."""

    release: Release
    totals: Totals
    closings: list[Digest]
    left_out: int
    noise: NoiseStatement | None = None


def _ask_leg(asking: Asking, wallet: Path, leg: Question, *, size: int) -> AnsweredLeg:
    with open_wallet(wallet, suite=sm2_suite()) as file:
        client = asking.client_of(file)
        grant = find_grant(asking, wallet_file=file, client=client, question=leg, size=size)
    content = client.wait(grant, pause=asking.pause)
    answer = open_answer(content, grant, authority=asking.authority)
    if answer.returned:
        with open_wallet(wallet, suite=sm2_suite()) as file:
            keep_returned(file, grant, answer, at=asking.clock())
    answered = read_answer(answer, grant, leg, authority=asking.authority)
    with open_wallet(wallet, suite=sm2_suite()) as file:
        file.keep(file.require().drop_grant(grant.query.text, at=asking.clock()))
    return answered


def find_grant(
    asking: Asking,
    *,
    wallet_file: WalletFile,
    client: QueryClient,
    question: Question,
    size: int = 0,
) -> Grant:
    """The grant in use for a question, or a new one: the question is sealed with it, and kept.

    Args:
        question: One of a question's legs.
        size: As for `ask_question`.

    Raises:
        InputError: The question is too long (`query.large`), or as `Asking.take_grant`.
        GridSecureError: As `take_query_keys` and `Asking.take_grant`.
    """
    reader = generate_private_key()
    keys = take_query_keys(wallet_file, client, accepted=asking.query_key)
    ticket = new_ticket(keys.returns, suite=wallet_file.suite)
    content = write_question(
        question.text, reader=reader.public_key, ticket=ticket.blinded(wallet_file.suite)
    )
    span = question.period.span
    query = sealed_query(
        span.start.isoformat(),
        span.end.isoformat(),
        reader=reader.public_key,
        sealed=seal_question(content, recipient=keys.seal, size=size),
    )
    known = wallet_file.require().grant_for_question(question.text, query, at=asking.clock())
    text, kept = content.model_dump_json(), ticket.to_bytes(wallet_file.suite)
    asked = (query, reader)
    return known or asking.take_grant(wallet_file, client, asked, content=text, ticket=kept)


def open_answer(content: bytes, grant: Grant, *, authority: PinnedAuthority) -> QueryAnswer:
    """What became of a sealed query, in the pinned authority's word.

    Args:
        content: As the authority sealed it, opened, and padded still.

    Raises:
        SignatureError: Of no public size, not signed by the pinned authority, or an answer to
            another query (`release.swapped`).
    """
    trusted = {authority.thumbprint: authority.key}
    text = unpad(content)
    if text is None:
        raise _swapped()
    answer = open_message(Signed.parse(text), expect=QueryAnswer, trusted=trusted)
    if answer.asked_by != query_subject(grant.digest):
        raise _swapped()
    return answer


def read_answer(
    answer: QueryAnswer, grant: Grant, question: Question, *, authority: PinnedAuthority
) -> AnsweredLeg:
    """Verify what a sealed query was answered with.

    1. it was not refused;
    2. the certificate is as `verify_release` wants it;
    3. it names this very question, under the salt that comes with the answer;
    4. its cells are the groups of the answer, at the same steps each, for every total;
    5. it has the noise that was asked for, and none that was not.

    Args:
        answer: From `open_answer`.

    Raises:
        ReleaseRefusedError: The query was refused; with the reason for its asker.
        SignatureError: Not signed by the pinned authority, or an answer to something else
            (`release.swapped`).
        GridSecureError: As `verify_release`.
    """
    if answer.reason:  # 1.
        over = ", ".join(answer.closings) or "no list"
        raise ReleaseRefusedError(
            f"{answer.message} It was asked over these closing lists: {over}.",
            reason=answer.reason,
            remedy=answer.remedy,
        )
    release = verify_release(answer.certificate.encode(), authority=authority)  # 2.
    asked = SealedQuestion.parse(grant.content).question
    if answer.groups is None or release.question != question_digest(
        asked, salt=answer.groups.salt
    ):  # 3.
        raise _swapped()
    said, noise = answer.groups, answer.groups.noise
    totals = _totals(release.cells, said.groups, names=question.totals)  # 4.
    if (noise.epsilon if noise else None) != (question.private and question.private.epsilon):
        raise _swapped()  # 5.
    totals = totals.model_copy(update={"noise": noise.scale if noise else 0})
    return AnsweredLeg(release, totals, said.closings, said.left_out, noise)


def _totals(
    cells: Sequence[ReleasedCell], groups: Sequence[GroupCount], *, names: Sequence[str]
) -> Totals:
    """A certificate's cells as a table of groups and steps.

    Args:
        names: Of totals; the groups of the second are numbered on from those of the first.
    """
    spans = list(dict.fromkeys((cell.start, cell.end) for cell in cells))
    values = {(cell.start, cell.end, cell.customer_class): cell.value for cell in cells}
    numbers = list(map(str, range(len(groups) * len(names))))
    wanted = {(*span, number) for span in spans for number in numbers}
    if values.keys() != wanted or len(values) != len(cells):
        raise _swapped()
    many = len(groups)
    return Totals(
        groups=list(groups),
        steps=[StepSpan(start=s.isoformat(), end=e.isoformat()) for s, e in spans],
        values={
            name: [
                [values[*span, number] for number in numbers[place * many : (place + 1) * many]]
                for span in spans
            ]
            for place, name in enumerate(names)
        },
    )


def _swapped() -> SignatureError:
    return SignatureError(
        "The key authority sent the answer to another question.",
        reason="release.swapped",
        remedy="Nothing of it is shown. Tell the security officer.",
    )
