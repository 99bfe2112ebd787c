"""The key authority reads a roster's year from its period's text, so it takes one text only."""

from __future__ import annotations

import pytest

from gridsecure.errors import InvalidMessageError, ReleaseRefusedError
from gridsecure.key_authority.checker.seating import prove_roster

JULY = ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
GOOD = {
    "July": JULY,
    "January": ("2026-01-01T00:00:00+08:00", "2026-02-01T00:00:00+08:00"),
    "December": ("2026-12-01T00:00:00+08:00", "2027-01-01T00:00:00+08:00"),
}
BAD = {
    "in UTC": ("2026-12-31T16:00:00+00:00", "2027-01-31T16:00:00+00:00"),
    "end in UTC": ("2026-12-01T00:00:00+08:00", "2026-12-31T16:00:00+00:00"),
    "over New Year": ("2026-12-15T00:00:00+08:00", "2027-01-15T00:00:00+08:00"),
    "naive": ("2026-07-01T00:00:00", "2026-08-01T00:00:00"),
    "reversed": JULY[::-1],
}


def proven(authority, upload, period):
    digest = authority.grid.signed_roster(upload.roster).digest
    return prove_roster(digest, period=period, zone=authority.zone, view=authority.view)


@pytest.mark.parametrize("name", GOOD)
def test_months_of_the_rosters_year_are_proven(authority, uploads, name):
    roster, gateway = proven(authority, uploads[0], GOOD[name])
    assert roster == uploads[0].roster.manifest
    assert gateway.thumbprint == roster.gateway_id


@pytest.mark.parametrize("name", BAD)
def test_periods_of_another_spelling_or_two_years_are_refused(authority, uploads, name):
    proven(authority, uploads[0], JULY)  # that it was proven before helps nothing
    with pytest.raises(InvalidMessageError) as refused:
        proven(authority, uploads[0], BAD[name])
    assert refused.value.reason == "identity.period"


def test_another_year_is_refused(authority, uploads):
    with pytest.raises(ReleaseRefusedError) as refused:
        proven(authority, uploads[0], ("2027-01-01T00:00:00+08:00", "2027-02-01T00:00:00+08:00"))
    assert refused.value.reason == "release.domain"


def test_a_request_about_a_period_told_otherwise_releases_nothing(authority, uploads):
    start, end = BAD["in UTC"]
    transcript = authority.bill_transcript(uploads[0])
    moved = transcript.model_copy(update={"start": start, "end": end})
    outcome = authority.answer(authority.request([moved], start=start, end=end))
    assert outcome.state == "refused"
    assert authority.certificates == []
