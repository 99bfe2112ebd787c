"""What the checker refuses, with which reason; every refusal is in the evidence log."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, GridSecureError
from gridsecure.homomorphic.column_files import column_bytes, open_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import REGISTER
from gridsecure.key_authority.checker.answering import FAILED, REFUSED, RELEASED
from gridsecure.messages import ReleaseRequest, Signed, sign_message
from gridsecure.plans.load_curve import day_quantity
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority
from tests.grid_simulator import GridSimulator, GridUpload

Uploads = list[GridUpload]
Request = Callable[[Authority, Uploads], Signed]


def changed_bill(**changes: object) -> Request:
    """A bill request whose transcript says something else."""

    def make(authority: Authority, uploads: Uploads) -> Signed:
        return authority.request([authority.bill_transcript(uploads[0]).model_copy(update=changes)])

    return make


def swapped_output(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.bill_transcript(uploads[0])
    name, entry = next(iter(transcript.outputs.items()))
    outputs = {**transcript.outputs, name: entry.model_copy(update={"digest": "0" * 64})}
    return authority.request([transcript.model_copy(update={"outputs": outputs})])


def output_one_coefficient_off(authority: Authority, uploads: Uploads) -> Signed:
    """A well-formed output that is the plan's but for the last coefficient, which is one more."""
    upload = uploads[0]
    result = authority.bill_job(upload)
    transcript = authority.transcript("bill", [upload], result)
    name, entry = next(iter(transcript.outputs.items()))
    (extent,) = (one for one in result.extents if one.digest == entry.digest)
    evaluation = authority.grid.keys.secret[entry.parameters].public.evaluation
    column, label = open_column(
        authority.grid.platform_zone.objects.store.get_extent(extent),
        digest=entry.digest,
        evaluation=evaluation,
        roster_id=upload.roster.manifest.roster_id,
    )
    residues = evaluation.ring.coefficients(column.chunks[-1]).copy()
    prime = evaluation.parameters.primes[residues.shape[1] - 1]
    residues[-1, -1, -1] = (int(residues[-1, -1, -1]) + 1) % prime
    chunks = (*column.chunks[:-1], evaluation.ring.chunk(residues))
    data = column_bytes(EncryptedColumn(evaluation, column.slots, chunks), label=label)
    outputs = {**transcript.outputs, name: entry.model_copy(update={"digest": sm3_hex(data)})}
    return authority.request([transcript.model_copy(update={"outputs": outputs})])


def left_out_output(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.bill_transcript(uploads[1])
    outputs = dict(list(transcript.outputs.items())[1:])
    return authority.request([transcript.model_copy(update={"outputs": outputs})])


def other_rosters_inputs(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.bill_transcript(uploads[0])
    inputs = authority.bill_transcript(uploads[1]).inputs
    return authority.request([transcript.model_copy(update={"inputs": inputs})])


def other_rosters_upload(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.bill_transcript(uploads[0])
    return authority.request([transcript.model_copy(update={"uploads": [uploads[1].upload_id]})])


def forged_transcript(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.bill_transcript(uploads[0])
    return authority.request([sign_message(transcript, key=authority.grid.keys.stranger)])


def another_purpose(authority: Authority, uploads: Uploads) -> Signed:
    return authority.request([authority.bill_transcript(uploads[0])], purpose="curiosity")


def the_same_twice(authority: Authority, uploads: Uploads) -> Signed:
    transcript = sign_message(
        authority.bill_transcript(uploads[0]), key=authority.grid.platform_key
    )
    return authority.request([transcript, transcript])


def nothing(authority: Authority, _uploads: Uploads) -> Signed:
    return authority.request([])


def part_of_a_day(authority: Authority, uploads: Uploads) -> Signed:
    """Every gateway lists the day once more under another name; one of the two is asked for."""
    twice = []
    for upload in uploads:
        day = next(c for c in upload.manifest.columns if c.quantity == day_quantity("2026-07-01"))
        again = day.model_copy(update={"quantity": f"{day.quantity}-again"})
        columns = [*upload.manifest.columns, again]
        manifest = upload.manifest.model_copy(update={"columns": columns})
        twice.append(replace(upload, manifest=manifest, message=authority.grid.sign(manifest)))
        authority.show(twice[-1])
    return authority.request([authority.load_curve_transcript(twice)], seeds=[SEED])


def days_divided_differently(authority: Authority, uploads: Uploads) -> Signed:
    """One gateway says its day has half-hours; the platform, that it totalled both."""
    transcript = authority.load_curve_transcript(uploads)
    *others, last = uploads
    columns = [
        column.model_copy(update={"intervals": 2 * column.intervals})
        if column.quantity == day_quantity("2026-07-01")
        else column
        for column in last.manifest.columns
    ]
    manifest = last.manifest.model_copy(update={"columns": columns})
    halves = replace(last, manifest=manifest, message=authority.grid.sign(manifest))
    authority.show(halves)
    named = [*(upload.upload_id for upload in others), halves.upload_id]
    changed = transcript.model_copy(update={"uploads": named})
    return authority.request([changed], seeds=[SEED])


def another_seed(authority: Authority, uploads: Uploads) -> Signed:
    return authority.request([authority.load_curve_transcript(uploads)], seeds=[bytes(32)])


def short_seed(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.load_curve_transcript(uploads)
    changed = transcript.model_copy(update={"seed_commitment": sm3_hex(b"x")})
    return authority.request([changed], seeds=[b"x"])


def no_seed(authority: Authority, uploads: Uploads) -> Signed:
    transcript = authority.load_curve_transcript(uploads)
    return authority.request([transcript], plan="load-curve", purpose="operations")


def seed_of_letters(authority: Authority, uploads: Uploads) -> Signed:
    request = ReleaseRequest.parse(authority.load_curve_request(uploads).body)
    changed = request.model_copy(update={"seeds": ["no hexadecimal digits"]})
    return sign_message(changed, key=authority.grid.platform_key)


REFUSALS: dict[str, tuple[Request, str]] = {
    "another plan version": (changed_bill(plan_version=99), "release.transcript"),
    "another period": (changed_bill(start="2026-06-01T00:00:00+08:00"), "release.transcript"),
    "a roster nobody sent": (changed_bill(rosters=["0" * 64]), "not-found.roster"),
    "rosters and uploads of different number": (changed_bill(uploads=[]), "release.closing"),
    "a swapped output": (swapped_output, "release.re-execution"),
    "an output that is one coefficient off": (output_one_coefficient_off, "release.re-execution"),
    "an output left out": (left_out_output, "release.re-execution"),
    "another roster's inputs": (other_rosters_inputs, "release.re-execution"),
    "another roster's upload": (other_rosters_upload, "upload.roster"),
    "a transcript the platform did not sign": (forged_transcript, "authenticity.unknown"),
    "a purpose bills are not released for": (another_purpose, "release.purpose"),
    "the same transcript twice": (the_same_twice, "release.repeated"),
    "no transcript": (nothing, "release.incomplete"),
    "part of a day": (part_of_a_day, "release.part-day"),
    "days divided differently": (days_divided_differently, "load-curve.grid"),
    "another seed than committed": (another_seed, "release.seed"),
    "a seed of another length": (short_seed, "release.seed"),
    "a seed of letters": (seed_of_letters, "release.incomplete"),
    "no seed": (no_seed, "release.incomplete"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_with_its_reason_and_entered(
    name: str, authority: Authority, uploads: Uploads
) -> None:
    make, reason = REFUSALS[name]
    outcome = authority.answer(make(authority, uploads))
    assert (outcome.state, outcome.reason) == (REFUSED, reason)
    assert authority.certificates == []
    (entry,) = authority.entries("release.refused")
    assert reason in entry.detail


@attack(
    "a transcript that says other outputs than its plan gives",
    rule(
        "The checker executes the plan again, and compares.",
        "release.re-execution",
        cut(
            "gridsecure.key_authority.checker.verification:_Begun.finish",
            "check_executed(self.transcript, inputs=inputs, outputs=derived, steps=steps)",
            "pass",
        ),
    ),
    rule(
        "The vault decrypts the outputs that officers approved, and no others.",
        "approval.order",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.admit",
            "outputs_digest(entries) not in self.subject.outputs",
            "False",
        ),
    ),
)
def test_a_transcript_is_not_believed(
    authority: Authority, uploads: Uploads, attacked: Attacked
) -> None:
    """Without the rules its lie is certified: what is decrypted is derived here all the same."""
    attacked.ends(authority.answer(swapped_output(authority, uploads)).reason)
    assert len(authority.certificates) == attacked.goes_through


def test_a_request_of_a_stranger_is_not_even_read(authority: Authority, uploads: Uploads) -> None:
    request = authority.bill_request(uploads)
    forged = request.model_copy(update={"signature": "00" * 64})
    with pytest.raises(AuthenticityError):
        authority.answer(forged)
    assert authority.certificates == []
    assert len(authority.entries("release.refused")) == 1


def test_an_object_the_platform_changed_is_noticed(authority: Authority, uploads: Uploads) -> None:
    request = authority.bill_request(uploads[:1])
    digest = next(iter(authority.bill_transcript(uploads[0]).inputs.values()))
    data = bytearray(authority.grid.platform_zone.objects.get(digest))
    data[-1] ^= 1
    authority.view.sent[digest] = bytes(data)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (REFUSED, "authenticity.envelope")


def test_a_forged_ciphertext_of_the_platform_is_never_decrypted(
    authority: Authority, grid: GridSimulator, uploads: Uploads
) -> None:
    """(0, floor(q/t)) decrypted once is the secret key; no gateway signed it, so nobody does."""
    transcript = authority.bill_transcript(uploads[0])
    name, entry = next(iter(transcript.inputs.items()))
    evaluation = grid.keys.secret[REGISTER.name].public.evaluation
    genuine, label = open_column(
        grid.platform_zone.objects.get(entry),
        digest=entry,
        evaluation=evaluation,
        roster_id=uploads[0].roster.manifest.roster_id,
    )
    residues = evaluation.ring.coefficients(genuine.chunks[0]).copy()
    scale = math.prod(REGISTER.primes) // REGISTER.plain_modulus
    residues[:] = 0
    for i, prime in enumerate(REGISTER.primes):
        residues[1, i, 0] = scale % prime
    forged = EncryptedColumn(evaluation, genuine.slots, (evaluation.ring.ciphertext(residues),))
    data = column_bytes(forged, label=label)
    digest = sm3_hex(data)
    authority.view.sent[digest] = data
    changed = transcript.model_copy(update={"inputs": {**transcript.inputs, name: digest}})
    outcome = authority.answer(authority.request([changed]))
    assert (outcome.state, outcome.reason) == (REFUSED, "release.re-execution")
    assert digest not in authority.view.asked, "what no gateway signed is not even fetched"


def test_the_same_request_again_is_answered_from_the_ledger(
    authority: Authority, uploads: Uploads
) -> None:
    request = authority.bill_request(uploads)
    assert authority.answer(request).state == RELEASED
    first = authority.certificates
    assert authority.answer(request).state == RELEASED
    assert authority.certificates == first
    assert len(authority.entries("release.granted")) == 1


def test_bills_are_released_once(authority: Authority, uploads: Uploads) -> None:
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    again = authority.request(
        [authority.bill_transcript(u).model_copy(update={"release": "again"}) for u in uploads]
    )
    outcome = authority.answer(again)
    assert (outcome.state, outcome.reason) == (REFUSED, "release.repeated")


def test_a_failed_store_is_no_refusal_and_goes_on_later(
    authority: Authority, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault is down: nothing is released, and the request waits."""
    request = authority.bill_request(uploads)

    def down(*_arguments: object) -> None:
        raise GridSecureError("The vault process is not running.", reason="vault.down")

    with monkeypatch.context() as patched:
        patched.setattr(type(authority.vault), "release_bills", down)
        outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "vault.down")
    assert authority.certificates == []
    assert authority.answer(request).state == RELEASED
    assert len(authority.certificates) == 1


def test_refusals_quote_nothing(authority: Authority, uploads: Uploads, tmp_path: Path) -> None:
    authority.answer(swapped_output(authority, uploads))
    logged = (tmp_path / "authority" / "zone.db").read_bytes()
    for name in uploads[0].roster.meter_point_ids:
        assert name.encode() not in logged
