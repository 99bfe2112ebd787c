"""What one request's transcripts have in common is verified once, and only what they have."""

from __future__ import annotations

import pytest

from gridsecure.key_authority.checker.verification import KnownInputs
from gridsecure.messages import Transcript

A, B, C, D = (letter * 64 for letter in "abcd")


def transcript(**differing: object) -> Transcript:
    fields: dict[str, object] = {
        "plan": "load-curve", "plan_version": 1, "start": "2026-07-01T00:00:00+08:00",
        "end": "2026-08-01T00:00:00+08:00", "rosters": [A, B], "uploads": [C, D], "inputs": {},
        "outputs": {}, "seed_commitment": None, "release": "1",
    }  # fmt: skip
    return Transcript.model_validate(fields | differing)


def verified(*transcripts: Transcript) -> int:
    """How often something was verified."""
    seen: list[Transcript] = []

    def verify(one: Transcript) -> list[object]:
        seen.append(one)
        return [len(seen)]

    known = KnownInputs()
    for one in transcripts:
        assert known.of(one, verify) == (len(seen),)
    return len(seen)


def test_days_of_the_same_rosters_are_verified_once() -> None:
    days = [transcript(inputs={f"{A}/intervals/2026-07-0{day}": B}) for day in (1, 2, 3)]
    assert verified(*days) == 1


@pytest.mark.parametrize(
    "differing",
    [
        {"plan": "bill"},
        {"start": "2026-06-01T00:00:00+08:00"},
        {"end": "2026-09-01T00:00:00+08:00"},
        {"rosters": [A, C]},
        {"rosters": [B, A]},
        {"uploads": [C, A]},
        {"rosters": [A, B, C], "uploads": [D]},
        {"rosters": [A], "uploads": [B, C, D]},
    ],
)
def test_whatever_is_named_otherwise_is_verified_again(differing: dict[str, object]) -> None:
    """The last two name the same digests in one row, as an attacker would."""
    assert verified(transcript(), transcript(**differing)) == 2
    assert verified(transcript(**differing), transcript(), transcript(**differing)) == 3
