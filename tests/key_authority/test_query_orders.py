"""Orders about questions at the vault's gate, without anything encrypted."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from gridsecure.approvals import ReleaseSubject, list_digest, outputs_digest
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import GridSecureError
from gridsecure.key_authority.packages import Approved
from gridsecure.key_authority.query_orders import CheckedQuery, groups_digest, steps_digest
from gridsecure.key_authority.vault import queries
from gridsecure.key_authority.vault.gate import Passage, ReleaseGate
from gridsecure.messages import ColumnEntry, Digest
from gridsecure.plans.purposes import RESEARCH
from gridsecure.plans.query_edges import CELLS
from gridsecure.plans.query_groups import MAX_TOTALS, write_rows
from gridsecure.policy.decisions import asked_for, find_minima
from tests.attacks import Attacked, attack, cut, rule
from tests.held_policy import POLICY

QUESTION, SALT = "9" * 64, "5" * 64
START, END = "2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00"
DAY = ("2026-07-01T00:00:00+08:00", "2026-07-02T00:00:00+08:00")
ROSTERS = [sm3_hex(b"a roster"), sm3_hex(b"another of as many slots")]
ROWS = [sm3_hex(b"its groups"), sm3_hex(b"the other's groups")]


def entry_of(number: int, **changes: Any) -> ColumnEntry:
    fields = {"quantity": "load", "parameters": "interval", "key_id": "0" * 64, "unit": "Wh"}
    span = {"start": DAY[0], "end": DAY[1], "high": 9, "size": 1, "intervals": 2}
    return ColumnEntry(**fields | span | {"digest": f"{number:064}"} | changes)


def order_of(**changes: Any) -> CheckedQuery:
    """An order about two rosters of one day, in one step."""
    minima = find_minima(POLICY, asked_for(RESEARCH, resolution="daily"))
    fields = {
        "start": START,
        "end": END,
        "question": QUESTION,
        "salt": SALT,
        "rosters": ROSTERS,
        "rows": ROWS,
        "groups": 1,
        "steps": {"load": [0, 0]},
        "spans": [DAY],
        "outputs": {"load": [entry_of(1), entry_of(2)]},
        "withheld": [],
        "minima": minima.as_message(),
        "merging": minima.merging,
        "dominance": dict(minima.dominance),
        "customer_points": minima.customer_points,
        "approved": Approved(subject="", grounds=[]),
    }
    return CheckedQuery(**fields | changes)


def passage_of(order: CheckedQuery, *, rosters: list[Digest] | None = None) -> Passage:
    """What officers approved: this order."""
    subject = ReleaseSubject(
        request_id="request",
        plan="query",
        start=order.start,
        end=order.end,
        purpose=RESEARCH,
        requested_by="somebody",
        resolutions=["daily"],
        measures=["energy"],
        cells=[],
        transcripts=list_digest([]),
        outputs=[outputs_digest(one for own in order.outputs.values() for one in own)],
        rosters=sorted(rosters or order.rosters),
        tariffs=[],
        policy=POLICY.digest,
        policy_name=POLICY.name,
        policy_version=POLICY.version,
        needed=[],
        standing=[],
        question=order.question,
        groups=groups_digest(order.rosters, order.rows, salt=order.salt),
        steps=steps_digest(order.steps, order.spans, salt=order.salt),
    )
    return Passage(cast("ReleaseGate", None), POLICY, subject, "0" * 64, ())


def refused(order: CheckedQuery, passage: Passage) -> str:
    """The reason; none where the order passes."""
    try:
        queries._check_shape(order)
        queries._check_approved(order, passage)
    except GridSecureError as error:
        return error.reason
    return ""


def test_an_order_as_it_was_approved_passes():
    assert refused(order_of(), passage_of(order_of())) == ""


@attack(
    "one approval, and a second order with the groups of two rosters exchanged",
    rule(
        "Officers approve which groups are those of which roster.",
        "approval.order",
        cut(
            "gridsecure.key_authority.query_orders:groups_digest",
            "zip(rosters, rows, strict=True)",
            "zip(sorted(rosters), sorted(rows), strict=True)",
        ),
    ),
)
def test_rows_of_another_roster(attacked: Attacked) -> None:
    """The checker knows the blinding, so two orders' totals would be of two cohorts."""
    attacked.ends(refused(order_of(rows=ROWS[::-1]), passage_of(order_of())))


@attack(
    "an order that leaves a roster of the approved ones out",
    rule(
        "An order is about all rosters of its subject.",
        "approval.order",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.admit_all_rosters",
            "sorted(rosters) != self.subject.rosters",
            "not set(rosters) <= set(self.subject.rosters)",
        ),
    ),
)
def test_fewer_rosters(attacked: Attacked) -> None:
    order = order_of()
    attacked.ends(refused(order, passage_of(order, rosters=[*ROSTERS, "7" * 64])))


@pytest.mark.parametrize(
    "other",
    [
        {"steps": {"load": [0, -1]}},
        {"spans": [(DAY[0], END)]},
        {"salt": "4" * 64},
        {"rows": [ROWS[0], ROWS[0]]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_times_groups_or_salt_were_not_approved(other):
    assert refused(order_of(**other), passage_of(order_of())) == "approval.order"


@attack(
    "an order that says that a later roster's intervals are a day",
    rule(
        "All rosters' columns are about the same times.",
        "vault.query",
        cut(
            "gridsecure.key_authority.vault.queries:_is_alike",
            "first.start, first.end",
            "entry.start, entry.end",
        ),
    ),
)
def test_the_first_roster_does_not_speak_for_others(attacked: Attacked) -> None:
    """How fine numbers are is found by the first roster's columns."""
    hour = entry_of(2, end="2026-07-01T01:00:00+08:00")
    order = order_of(outputs={"load": [entry_of(1), hour]})
    attacked.ends(refused(order, passage_of(order)))


def test_an_order_has_no_more_totals_than_a_question_may():
    groups, steps = 1_000, MAX_TOTALS // 1_000

    def order(steps: int) -> CheckedQuery:
        column = {"load": list(range(steps))}
        outputs = {"load": [entry_of(number, intervals=steps) for number in (1, 2)]}
        return order_of(groups=groups, steps=column, spans=[DAY] * steps, outputs=outputs)

    queries._check_shape(order(steps))
    assert refused(order(steps + 1), passage_of(order_of())) == "vault.query"


def test_no_two_texts_of_times_have_one_digest():
    """Names are the order's own: joined without their lengths, these would be alike."""
    first = steps_digest({"a": [0], "b": [1]}, [], salt=SALT)
    assert first != steps_digest({"a:0\nb": [1]}, [], salt=SALT)
    assert first != steps_digest({"a": [0]}, [("b", "1")], salt=SALT)


def test_a_month_has_more_cells_than_a_question_has_groups() -> None:
    """600 groups that each overlap with what was told before are 1,200 cells."""
    cells = write_rows(np.array([0, CELLS - 1]))
    name = sm3_hex(cells)
    assert queries._read_rows(cells, digest=name, most=CELLS).tolist() == [0, CELLS - 1]
    with pytest.raises(GridSecureError, match="groups"):
        queries._read_rows(cells, digest=name)
