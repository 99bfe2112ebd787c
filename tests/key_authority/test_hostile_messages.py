"""Messages that are signed and absurd, or signed by the wrong party: refused, and never a crash.

A request that broke the checker would keep every request behind it waiting.
"""

from __future__ import annotations

import pytest

from gridsecure.crypto.sm2 import Sm2PrivateKey
from gridsecure.errors import InvalidMessageError
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED
from gridsecure.messages import KeyNotice, Signed, Transcript, sign_message
from tests.authority_simulator import SEED, Authority
from tests.grid_simulator import GridSimulator, GridUpload

Uploads = list[GridUpload]
Changes = dict[str, object]
SLOTS = 39
AT_THE_BEGINNING = ("0001-01-01T00:00:00+14:00", "0001-02-01T00:00:00+14:00")
AT_THE_END = ("9999-12-01T00:00:00-14:00", "9999-12-31T23:59:59-14:00")


def span(start: str, end: str) -> Changes:
    return {"start": start, "end": end}


def transcript_of(
    authority: Authority,
    upload: GridUpload,
    *,
    roster: Changes | None = None,
    sent: Changes | None = None,
    key: Sm2PrivateKey | None = None,
) -> Transcript:
    """A transcript about a roster and upload with other fields, which the gateway signed."""
    grid = authority.grid
    seated = grid.seated(upload.roster.manifest.model_copy(update=roster or {}))
    changed = {"roster_id": seated.roster_id, **(sent or {})}
    envelopes = [
        grid.sign(message, key=key)
        for message in (seated, upload.manifest.model_copy(update=changed))
    ]
    authority.view.messages |= {envelope.digest: envelope for envelope in envelopes}
    return authority.bill_transcript(upload).model_copy(
        update={"rosters": [envelopes[0].digest], "uploads": [envelopes[1].digest]}
    )


ABSURD: dict[str, tuple[Changes, Changes, str]] = {
    "a quota beyond arithmetic": (
        {"household_quota_wh": [2**80] * SLOTS},
        {},
        "release.roster",
    ),
    "a negative quota": ({"household_quota_wh": [-1] * SLOTS}, {}, "release.roster"),
    "a capacity beyond arithmetic": ({"contracted_va": [2**64] * SLOTS}, {}, "release.roster"),
    "the first year": ({}, span(*AT_THE_BEGINNING), "release.period"),
    "the last year": ({}, span(*AT_THE_END), "release.period"),
    "a period without offsets": ({}, span("2026-07-01", "2026-08-01"), "release.period"),
    "a period that is no time": ({}, span("x", "y"), "release.period"),
    "a tariff that is no digest": ({"tariff": "../../x"}, {}, "not-found.object"),
    "an upload of another roster": ({}, {"roster_id": "f" * 32}, "upload.roster"),
    "a moved slot beyond the roster": ({}, {"moved_slots": [SLOTS]}, "upload.roster"),
    "a roster of another gateway": ({"gateway_id": "f" * 64}, {}, "authenticity.seats"),
    "another domain": ({"domain": "platform/other/2026"}, {}, "release.domain"),
    "another year": ({"domain": "platform/billing/2025"}, {}, "release.domain"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_facts_are_refused(name: str, authority: Authority, uploads: Uploads) -> None:
    roster, sent, reason = ABSURD[name]
    times = {key: value for key, value in sent.items() if key in {"start", "end"}}
    transcript = transcript_of(authority, uploads[0], roster=roster, sent=sent)
    request = authority.request([transcript.model_copy(update=times)], **times)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (REFUSED, reason)
    (entry,) = authority.entries("release.refused")
    assert reason in entry.detail


def test_a_tariff_that_is_no_text(authority: Authority, uploads: Uploads) -> None:
    """A roster may name any object; a column is not UTF-8."""
    column = uploads[0].manifest.columns[0].digest
    transcript = transcript_of(authority, uploads[0], roster={"tariff": column})
    assert authority.answer(authority.request([transcript])).reason == "release.tariff"


@pytest.mark.parametrize("who", ["stranger", "platform", "authority"])
def test_rosters_and_uploads_are_a_gateways(
    authority: Authority, uploads: Uploads, who: str
) -> None:
    """The platform cannot put in columns of its own: its signature is not a gateway's."""
    key: Sm2PrivateKey = getattr(authority.grid.keys, who)
    transcript = transcript_of(authority, uploads[0], key=key)
    outcome = authority.answer(authority.request([transcript]))
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.seats")


def test_two_gateways_do_not_mix(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """A roster's upload must come from the roster's own gateway."""
    upload = grid.sign(uploads[0].manifest, key=grid.keys.stranger)
    transcript = authority.bill_transcript(uploads[0])
    authority.view.messages[upload.digest] = upload
    outcome = authority.answer(authority.request([transcript]))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.gateway")


def test_another_message_than_asked_for(authority: Authority, uploads: Uploads) -> None:
    transcript = authority.bill_transcript(uploads[0])
    authority.view.messages[transcript.uploads[0]] = uploads[1].message
    outcome = authority.answer(authority.request([transcript]))
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.envelope")


def test_a_tariff_the_platform_changed(authority: Authority, uploads: Uploads) -> None:
    """Cheaper for everybody, and computed so by the platform: the roster names another text."""
    digest = uploads[0].roster.manifest.tariff
    text = authority.grid.platform_zone.objects.get(digest)
    cheaper = text.replace(b'rate = "0.69986875"', b'rate = "0.59986875"')
    assert cheaper != text
    transcript = authority.bill_transcript(uploads[0])
    authority.view.sent[digest] = cheaper
    outcome = authority.answer(authority.request([transcript]))
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.envelope")


def test_an_upload_of_another_period(authority: Authority, uploads: Uploads) -> None:
    """Request and transcript agree on June; the upload is July's."""
    june = span("2026-06-01T00:00:00+08:00", "2026-07-01T00:00:00+08:00")
    transcript = authority.bill_transcript(uploads[0]).model_copy(update=june)
    outcome = authority.answer(authority.request([transcript], **june))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.period")


INPUTS: dict[str, tuple[dict[str, str], str]] = {
    "without a roster": ({"x": "0" * 64}, "upload.incomplete"),
    "none": ({}, "release.part-day"),
    "of a bill": ({"roster/total": "0" * 64}, "release.part-day"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_a_load_curve_are_intervals(
    name: str, authority: Authority, uploads: Uploads
) -> None:
    inputs, reason = INPUTS[name]
    transcript = authority.load_curve_transcript(uploads)
    changed = transcript.model_copy(update={"inputs": inputs})
    assert authority.answer(authority.request([changed], seeds=[SEED])).reason == reason


def test_a_roster_listed_twice_makes_no_small_cell_large(
    authority: Authority, uploads: Uploads
) -> None:
    transcript = authority.load_curve_transcript(uploads[1:])
    twice = transcript.model_copy(
        update={"rosters": transcript.rosters * 2, "uploads": transcript.uploads * 2}
    )
    outcome = authority.answer(authority.request([twice], seeds=[SEED]))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.twice")


def test_one_roster_of_two_is_not_left_out_of_a_day(authority: Authority, uploads: Uploads) -> None:
    """The transcript says both rosters, the outputs are of one."""
    transcript = authority.load_curve_transcript(uploads)
    roster_id = uploads[1].roster.manifest.roster_id
    kept = {
        name: {k: v for k, v in getattr(transcript, name).items() if not k.startswith(roster_id)}
        for name in ("inputs", "outputs")
    }
    outcome = authority.answer(
        authority.request([transcript.model_copy(update=kept)], seeds=[SEED])
    )
    assert (outcome.state, outcome.reason) == (REFUSED, "release.re-execution")


def test_a_signed_message_that_is_no_request(authority: Authority, uploads: Uploads) -> None:
    """Signed by the platform as a request, and of another shape: entered, and nothing else."""
    request = authority.bill_request(uploads)
    notice = KeyNotice.parse(authority.grid.key_notices[0].body)

    class Disguised(KeyNotice):
        kind = "release-request"

    envelope: Signed = sign_message(
        Disguised(**notice.model_dump()), key=authority.grid.platform_key
    )
    assert envelope.body_kind == request.body_kind
    with pytest.raises(InvalidMessageError):
        authority.answer(envelope)
    assert len(authority.entries("release.refused")) == 1
    assert authority.answer(request).state == RELEASED
