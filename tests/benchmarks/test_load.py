"""A node under a small load: nothing breaks, nothing is lost, and faults are told."""

from __future__ import annotations

import pytest

from benchmarks.load import Outcome, Tally, describe, measure_load


@pytest.mark.slow
def test_a_node_under_load_is_stopped_and_has_all_that_it_gave_receipts_for() -> None:
    outcome = measure_load(requests=120, at_once=16)
    batches, reads = outcome.tallies["batches"], outcome.tallies["reads"]
    assert batches.statuses[200] + reads.statuses[200] == 120
    assert outcome.receipts >= 16
    # Memory is of 10,000 requests: a service that has just begun grows with its first ones.
    assert [said for said in outcome.faults if "memory" not in said] == []


def test_what_should_not_be_is_told() -> None:
    outcome = Outcome(memory_mb=(100.0, 300.0), lost=2, stopped_s=1000.0)
    outcome.tallies = {"reads": Tally([0.1, 0.2], broken=3)}
    outcome.tallies["reads"].statuses[500] = 1
    outcome.tallies["reads"].statuses[503] = 4
    outcome.late.untold = 5
    assert len(outcome.faults) == 6
    told = describe(outcome)
    assert told.count("FAULT") == 6
    assert "p50" in told
    assert Tally([0.1, 0.2, 0.3, 0.4]).at(0.5) == 300.0
    assert Outcome().faults == []
