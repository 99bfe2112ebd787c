"""An analyst's desk: a question in Python, and its answer as a tidy frame with what it rests on.

    published = verify_releases(certificates, authorities=[pin_authority("04…")])
    question = build_question("energy", "2026-07", every="day", group_by=["zone"])
    answer = answer_published(question, published)
    answer.frame; answer.plot(); answer.chain

The command (`gridsecure query answer`, `ask`) prints the same answers. Published releases are
verified here and nobody is asked; sealed questions are asked by `sealed_asking.ask_question`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from gridsecure.analyst.answer_charts import plot_answer
from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.published_answers import (
    Published,
    collect_totals,
    list_joined,
    read_published,
)
from gridsecure.analyst.releases import PinnedAuthority, Release
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.messages import Digest
from gridsecure.queries.answers import UNCERTAINTY, answer_question
from gridsecure.queries.forms import Regression, SeriesName
from gridsecure.queries.language import Question, parse_question
from gridsecure.queries.lines import KWH, WITHHELD
from gridsecure.queries.series import (
    PublicSeries,
    SeriesPolicy,
    choose_series,
    fill_question,
    join_policies,
)
from gridsecure.queries.totals import Totals
from gridsecure.released_values import SignedCertificate


class Link(NamedTuple):
    """A step of how an answer came about, and the digest of what it gave.

    Args:
        digest: SM3, as hexadecimal digits.
    """

    step: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Answer:
    """An answered question.

    Args:
        question: As it was asked.
        frame: Its numbers, as `queries.answers.answer_question` gives them: exact, with unit and
            state.
        releases: The verified releases that its totals are from.
        chain: How it came about, from what was decrypted on; each step is computed of those before.
        joined: Cells of releases about several of its groups, by name; these groups are withheld.
        series: Series of others that were joined with its totals.
    """

    question: Question
    frame: pd.DataFrame
    releases: tuple[Release, ...]
    chain: tuple[Link, ...]
    joined: tuple[str, ...] = ()
    series: tuple[PublicSeries, ...] = ()

    @property
    def terms(self) -> SeriesPolicy:
        """Who may use the answer, as the owners of its series say: the strictest of each."""
        return join_policies(one.header.policy for one in self.series)

    def plot(self) -> alt.VConcatChart:
        """A chart of its numbers; `save` of it writes a page, an image or a drawing.

        Raises:
            InputError: No number is told (`query.nothing-told`).
        """
        return plot_answer(self.question, self.frame)


@dataclass(frozen=True, slots=True)
class Joining:
    """Series of others that a question may name, and what for.

    Args:
        purpose: What they are used for, in the owners' words.
        on: The day of use.
    """

    series: Sequence[PublicSeries]
    purpose: str
    on: date

    def choose(self, question: Question) -> dict[SeriesName, PublicSeries]:
        """Those that a question names.

        Raises:
            NotFoundError: One is not there (`series.missing`).
            InputError: One does not fit (`series.unit`, `series.shape`).
            ReleaseRefusedError: A policy forbids it (`series.policy`).
        """
        return choose_series(question, self.series, purpose=self.purpose, on=self.on)


def build_question(  # noqa: PLR0913 - one parameter a field of a question
    measure: str,
    period: str | Mapping[str, Any],
    *,
    every: str = "month",
    where: Mapping[str, Any] | None = None,
    when: Mapping[str, Any] | None = None,
    group_by: Sequence[str] = (),
    statistic: str = "sum",
    **parameters: Any,
) -> Question:
    """A question from its parts.

    Args:
        measure: For example "energy" or "bill".
        period: A month as in "2026-07", a day as in "2026-07-31", or an object with more.
        parameters: Those of the statistic.

    Raises:
        InputError: It is none (`query.<what>`).

    >>> build_question("energy", "2026-07", statistic="mean", per="customer").statistic.name
    'mean'
    """
    if isinstance(period, str):
        period = {"day" if period.count("-") > 1 else "month": period}
    given = {"where": where, "when": when, "group_by": list(group_by) or None}
    return read_question(
        {
            "measure": measure,
            "period": period,
            "every": every,
            "statistic": {"name": statistic, **parameters},
            **{name: value for name, value in given.items() if value is not None},
        }
    )


def read_question(document: Question | Mapping[str, Any] | str) -> Question:
    """A question from an object or from JSON.

    Raises:
        InputError: It is none (`query.<what>`).
    """
    if isinstance(document, Question):
        return document
    text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return parse_question(text)


def verify_releases(
    certificates: Iterable[bytes], *, authorities: Sequence[PinnedAuthority]
) -> tuple[Published, ...]:
    """Releases that questions are answered from, each verified with its entry in the log.

    Args:
        certificates: Release certificates, as their files hold them.
        authorities: The key authorities, one of whose keys signed each: of several cities each
            has its own.

    Raises:
        GridSecureError: As `certificates.verify_certificate`.
    """
    first, *_ = authorities
    by_key = {one.thumbprint: one for one in authorities}
    return tuple(
        read_published(
            verify_certificate(
                content, authority=by_key.get(SignedCertificate.parse(content).signer, first)
            ).release
        )
        for content in certificates
    )


def answer_published(
    question: Question | Mapping[str, Any] | str,
    published: Sequence[Published],
    *,
    joining: Joining | None = None,
) -> Answer:
    """Answer a question from published releases, on this machine: nobody is asked.

    Args:
        published: As `verify_releases` gives them.
        joining: Series that the question names.

    Raises:
        InputError: It is no question, or not one of these releases (`query.<what>`), or a series
            does not fit (`series.<what>`).
        NotFoundError: The releases do not hold what it takes (`query.not-published`).
        ReleaseRefusedError: A series may not be used (`series.policy`).
    """
    asked = read_question(question)
    series = joining.choose(asked) if joining is not None else {}
    legs = collect_totals(asked, published)
    joined = tuple(list_joined(asked, published))
    releases = [one.release for one in published]
    return conclude(asked, legs, releases=releases, joined=joined, series=series)


def conclude(
    question: Question,
    legs: Sequence[Totals],
    *,
    releases: Sequence[Release],
    joined: tuple[str, ...] = (),
    series: Mapping[SeriesName, PublicSeries] | None = None,
) -> Answer:
    """An answer from verified totals.

    Args:
        series: Those that the question names.

    Raises:
        InputError: As `queries.answers.answer_question` and `queries.series.fill_question`.
    """
    used = tuple((series or {}).values())
    frame = answer_question(fill_question(question, series or {}, legs[0]), legs)
    _name_units(frame, question, series or {})
    least = join_policies(one.header.policy for one in used).least_meter_points
    too_few = frame["meter_points"] < least
    frame.loc[too_few, ["value", "state"]] = None, WITHHELD
    if UNCERTAINTY in frame.columns:
        frame.loc[too_few, UNCERTAINTY] = None
    chain = list_links(question, legs, releases=releases, frame=frame)
    joins = [Link(f"series {one.header.name}", one.digest) for one in used]
    chain = (*chain[:-1], *joins, chain[-1])
    return Answer(question, frame, tuple(releases), chain, joined, used)


def _name_units(
    frame: pd.DataFrame, question: Question, series: Mapping[SeriesName, PublicSeries]
) -> None:
    """Slopes are per unit of the series that they are of, where its owner says it."""
    if not isinstance(question.statistic, Regression):
        return
    for name, own in question.statistic.series.items():
        if isinstance(own, str):
            is_slope = frame["quantity"] == f"slope of {name}"
            frame.loc[is_slope, "unit"] = f"{KWH} per {series[own].header.unit}"


def list_links(
    question: Question,
    legs: Sequence[Totals],
    *,
    releases: Sequence[Release],
    frame: pd.DataFrame,
) -> tuple[Link, ...]:
    """The steps from ciphertexts to an answer, by the digests of what each gave.

    1. what the gateways' columns became: transcripts of executed plans, which name every column
       that they read (a sealed question has none), and the outputs that were decrypted;
    2. the certificate;
    3. the totals of groups and steps;
    4. the answer, which series of others may be joined in.
    """
    links = []
    for release in releases:
        name = f"{release.plan} {release.start:%Y-%m-%d}"
        links += [Link(f"transcript of {name}", digest) for digest in release.transcripts]  # 1.
        links.append(Link(f"outputs of {name}", release.outputs_digest))
        if release.signed_text is not None:
            links.append(
                Link(f"certificate of {name}", sm3_hex(release.signed_text.encode()))
            )  # 2.
    for leg, totals in zip(question.legs, legs, strict=True):
        text = totals.model_dump_json().encode()
        links.append(Link(f"totals of {leg.period.span.start:%Y-%m-%d}", sm3_hex(text)))  # 3.
    rows = frame.to_json(orient="split", index=False, default_handler=str, force_ascii=False)
    return (*links, Link("answer", sm3_hex(rows.encode())))  # 4.
