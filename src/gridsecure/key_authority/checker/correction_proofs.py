"""Proving a correction: both versions of the bills, derived again from signed uploads.

1. the correction's own transcript holds, as any bill's (`verification`);
2. what it corrects was released, by this authority's own record;
3. the two uploads fit each other: same meter points, same period, the next number (`plans`);
4. the earlier upload gives the outputs that were released for it.

As ever, nothing the platform computed is used further, and nothing here decrypts.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ReleaseRefusedError
from gridsecure.key_authority.checker.bill_versions import (
    BillVersion,
    find_released_version,
    make_version,
)
from gridsecure.key_authority.checker.reexecution import Derived
from gridsecure.key_authority.checker.seating import prove_roster
from gridsecure.key_authority.checker.verification import (
    Proven,
    begin_bill,
    prove,
)
from gridsecure.key_authority.checker.zone import AuthorityZone
from gridsecure.messages import Signed, UploadManifest, open_message
from gridsecure.plans.cells import Place, roster_places
from gridsecure.plans.correction_rules import Version, check_correction
from gridsecure.plans.execution import RosterData, roster_data
from gridsecure.plans.key_ring import KeyRing
from gridsecure.plans.transcript_inputs import PlatformView, fetch_message
from gridsecure.store.database import read_session


@dataclass(frozen=True, slots=True, eq=False)
class ProvenCorrection:
    """A correction that holds.

    Args:
        after: Its transcript, with the new outputs.
        outputs_before: Their outputs, derived again.
    """

    after: Proven
    before: RosterData
    outputs_before: dict[str, Derived]
    version: BillVersion

    @property
    def data(self) -> RosterData:
        """The correction's roster and upload."""
        return self.after.datas[0]

    @property
    def places(self) -> set[Place]:
        """The cells of its corrected slots."""
        places = roster_places(self.data.roster)
        return {places[slot] for slot in self.data.upload.corrected_slots}


def prove_correction(
    envelope: Signed, *, zone: AuthorityZone, view: PlatformView, keys: KeyRing
) -> ProvenCorrection:
    """Verify a correction's transcript, and derive the bills it cancels as well.

    Args:
        envelope: The signed transcript.
        keys: The gateways' key sets, from `key_sets.key_ring`.

    Raises:
        GridSecureError: As `verification.prove`.
        ReleaseRefusedError: The corrected upload was not released (`correction.unreleased`), or
            gives other outputs than were released (`correction.re-execution`).
        InputError: It is no correction of that upload (`correction.*`).
    """
    # 1. the transcript
    after = prove(envelope, zone=zone, view=view, keys=keys)
    (data,), (digest,) = after.datas, after.transcript.uploads
    # 2. what it corrects
    with read_session(zone.engine) as session:
        earlier = find_released_version(session, data.upload.corrects or "")
    period = (after.transcript.start, after.transcript.end)
    roster, gateway = prove_roster(earlier.roster, period=period, zone=zone, view=view)
    upload = fetch_message(view, "upload", earlier.upload)
    trusted = {gateway.thumbprint: gateway}
    before = roster_data(roster, open_message(upload, expect=UploadManifest, trusted=trusted))
    # 3. whether they fit
    check_correction(
        Version(digest, data.upload, data.roster),
        corrected=Version(earlier.upload, before.upload, before.roster),
    )
    # 4. the earlier outputs
    outputs = begin_bill(before, zone=zone, view=view, keys=keys).result().outputs
    derived = sm3_hex("".join(output.entry.digest for output in outputs.values()).encode())
    is_same_plan = earlier.plan_version == after.transcript.plan_version
    if is_same_plan and derived != earlier.outputs:
        raise ReleaseRefusedError(
            "Executing the corrected upload again does not give the released outputs.",
            reason="correction.re-execution",
            remedy="Find out what was altered; do not repeat the request unchanged.",
        )
    return ProvenCorrection(after, before, outputs, make_version(after, first=earlier.first))
