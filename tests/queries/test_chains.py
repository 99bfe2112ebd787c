"""The steps of a question: ciphertexts until one decryption, each named somewhere or nowhere."""

from __future__ import annotations

import pytest

from gridsecure.queries.chains import CIPHERTEXT, explain_chain
from gridsecure.queries.packs import TITLES, list_packs
from tests.queries.questions import question


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("name", TITLES)
def test_totals_are_decrypted_once_and_nothing_before(name: str, is_sealed: bool) -> None:
    asked = list_packs()[name]
    steps = explain_chain(asked, is_sealed=is_sealed)
    parties = [step.party for step in steps]
    forms = [step.form for step in steps]
    assert (parties[0], parties[-1]) == ("gateway", "asker")
    assert parties.count("vault") == 1
    at = parties.index("vault")
    assert set(forms[:at]) == {CIPHERTEXT}
    assert CIPHERTEXT not in forms[at:]
    assert {"platform, and the checker again", "checker"} & set(parties) == {
        "checker" if is_sealed else "platform, and the checker again"
    }
    assert steps[-1].gives == asked.statistic.name.replace("_", " ")


def test_revenue_goes_from_usage_to_parts_to_lines_to_bills_to_an_index() -> None:
    steps = explain_chain(list_packs()["revenue-index"], is_sealed=False)
    assert [step.gives for step in steps[1:5]] == [
        "energy of the month -> energy in each tier and register", "parts -> bill lines",
        "lines -> bills", "bill of zones and classes",
    ]  # fmt: skip
    assert [step.named_by for step in steps[1:4]] == [
        "the transcript's steps", "the transcript's outputs", "nothing: it is within one plan",
    ]  # fmt: skip
    sealed = explain_chain(list_packs()["revenue-index"], is_sealed=True)
    assert {step.named_by for step in sealed[1:4]} == {"nothing: it is within one plan"}
    count = explain_chain(question(measure="count"), is_sealed=False)
    assert [step.party for step in count] == ["gateway", "asker", "asker"], "nothing is decrypted"
