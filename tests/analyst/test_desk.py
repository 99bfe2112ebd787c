"""Questions and answers in Python: what the command prints, with what it rests on."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gridsecure.analyst.desk import Joining, answer_published, build_question, verify_releases
from gridsecure.analyst.published_answers import Published
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, ReleaseRefusedError, SignatureError
from gridsecure.queries.language import parse_question
from gridsecure.queries.series import SeriesHeader, SeriesPolicy, read_series
from tests.analyst.logged_certificates import write_certificate
from tests.queries.published_months import bill_release, bills

KEY = generate_private_key()
AUTHORITY = PinnedAuthority(KEY.public_key)
BY_CLASS = {"measure": "bill", "period": {"month": "2026-07"}, "group_by": ["customer_class"]}


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("release")
    return write_certificate(bill_release("2026-07"), key=KEY, folder=folder).read_bytes()


@pytest.fixture(scope="module")
def published(content: bytes) -> tuple[Published, ...]:
    return verify_releases([content], authorities=[AUTHORITY])


def test_an_answer_is_a_frame_that_says_what_it_rests_on(published: tuple[Published, ...]) -> None:
    answer = answer_published(BY_CLASS, published)
    billed = bills("2026-07").groupby("customer_class")["fen"].sum()
    assert [int(value * 100) for value in answer.frame["value"]] == list(billed)
    assert set(answer.frame["unit"]) == {"yuan"}
    assert [release.release_id for release in answer.releases] == ["bill-2026-07"]
    steps = [link.step for link in answer.chain]
    assert steps == [
        "transcript of bill 2026-07-01", "outputs of bill 2026-07-01",
        "certificate of bill 2026-07-01", "totals of 2026-07-01", "answer",
    ]  # fmt: skip
    assert answer.chain[0].digest == "ab" * 32, "the transcript that the certificate names"
    assert answer_published(BY_CLASS, published).chain == answer.chain, (
        "whoever computes it again gets the same digests"
    )
    mean = answer_published(BY_CLASS | {"statistic": {"name": "mean"}}, published)
    same = {link.step: link.digest for link in answer.chain} | {"answer": mean.chain[-1].digest}
    assert {link.step: link.digest for link in mean.chain} == same, "only the last step differs"
    assert mean.chain[-1] != answer.chain[-1]
    assert answer.plot().to_dict()["title"]["text"] == "Bill by customer class, 2026-07"


def test_series_are_joined_here_and_the_answer_says_which(published: tuple[Published, ...]) -> None:
    paid = b"customer_class,value\nhousehold,21030.55\nshop,14999\n"
    header = SeriesHeader(
        name="payments", owner="billing", unit="yuan", table=sm3_hex(paid),
        policy=SeriesPolicy(purposes=["research"], least_meter_points=100),
    )  # fmt: skip
    series = read_series(header.text, paid)
    asked = BY_CLASS | {
        "statistic": {"name": "ratio", "unit": "yuan", "is_share": True, "given": "payments"}
    }
    joining = Joining([series], "research", date(2026, 8, 3))
    answer = answer_published(asked, published, joining=joining)
    assert list(answer.frame["state"]) == ["told", "withheld"], "65 shops are fewer than 100"
    assert answer.frame["value"][1] is None
    assert answer.chain[-2] == ("series payments", series.digest)
    assert answer.terms.purposes == ["research"]
    other = replace(joining, purpose="billing")
    with pytest.raises(ReleaseRefusedError, match="series payments"):
        answer_published(asked, published, joining=other)


def test_no_answer_comes_of_a_certificate_of_somebody_else(content: bytes) -> None:
    other = PinnedAuthority(generate_private_key().public_key)
    with pytest.raises(SignatureError):
        verify_releases([content], authorities=[other])
    # Of two cities, each certificate is held to the key that signed it.
    assert verify_releases([content], authorities=[other, AUTHORITY])


def test_a_question_is_built_from_its_parts() -> None:
    built = build_question(
        "energy", "2026-07-31", every="hour", where={"zone": ["futian"]}, group_by=["tariff"],
        statistic="mean", per="customer",
    )  # fmt: skip
    assert built == parse_question(
        '{"measure": "energy", "period": {"day": "2026-07-31"}, "every": "hour",'
        ' "where": {"zone": ["futian"]}, "group_by": ["tariff"],'
        ' "statistic": {"name": "mean", "per": "customer"}}'
    )
    with pytest.raises(InputError) as refused:
        build_question("energy", "2026-07", statistic="mean", by="customer")
    assert refused.value.reason == "query.field"
