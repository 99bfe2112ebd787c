"""One month of a run, through its services: from the readings to bills that agree with the oracle.

Validate, enrol, encrypt and upload at the gateway; the billing office closes the month; bills on
ciphertext at the platform, and load curves as an analyst asks for them with an anonymous grant; two
officers approve and the key authority releases; the billing office opens the statements, has each
account prove which one is its own, and compares them with digests from the gateway's oracle.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gridsecure.analyst.queries import QueryProgress
from gridsecure.analyst.reconciliation import intake_of, reconcile_month
from gridsecure.analyst.releases import Release, pin_authority, verify_release
from gridsecure.cli.home import APPROVERS, Home
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.online import utc_now
from gridsecure.cli.run_analyst import RunAnalyst
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.cli.run_progress import RunStages
from gridsecure.cli.run_result import MonthResult, Stage
from gridsecure.cli.services_client import ServicesClient
from gridsecure.errors import GridSecureError
from gridsecure.month_texts import read_month
from gridsecure.offices.approvals import approve_waiting
from gridsecure.offices.billing_office import BillingOffice, assign_bills, attach_receipts
from gridsecure.offices.closing_lists import close_month
from gridsecure.periods import billing_month
from gridsecure.statement_checks import check_statements

_GATEWAY_ORDER: Final = ("read", "validate", "admit", "enrol", "rosters", "encrypt", "upload")


@dataclass(frozen=True, slots=True)
class RunMonth:
    """A month to bill.

    Args:
        client: Calls the services as each of the run's people.
        analyst: Who asks for its load curves.
        stages: Where its stages are shown and timed.
    """

    files: MeterFiles
    client: ServicesClient
    analyst: RunAnalyst
    stages: RunStages

    @property
    def _home(self) -> Home:
        return self.client.home

    @property
    def _bounds(self) -> dict[str, str]:
        period = billing_month(*read_month(self.files.month), timezone=TIMEZONE)
        return {"start": period.start.isoformat(), "end": period.end.isoformat()}

    def bill(self) -> MonthResult:
        """From the files to bills and load curves that agree with what is expected.

        Raises:
            GridSecureError: A stage failed; nothing it wrote is half-finished.
        """
        result = MonthResult(self.files.month)
        self._gateway(result)
        with self.stages.stage("close the month") as note:
            note(f"{self._close()} uploads")
        with self.stages.stage("compute bills on ciphertext") as note:
            note(self._compute())
        with self.stages.stage("an analyst asks for load curves") as note:
            note(self._ask())
        with self.stages.stage("release") as note:
            note(self._release(result))
            curve = self.analyst.read(self.files.month).release
        with self.stages.stage("compare with the oracle") as note:
            note(self._compare(result, curve))
        return result

    def _close(self) -> int:
        """As the billing office: what was uploaded is billed together."""
        call, bounds = partial(self.client.call, "billing"), self._bounds
        office, start, end = self._home.keys["billing-office"], bounds["start"], bounds["end"]
        return close_month(call, key=office, now=utc_now(), start=start, end=end)

    def _gateway(self, result: MonthResult) -> None:
        """Hand the files to the gateway and follow its stages."""
        path, call = f"/months/{self.files.month}", self.client.call
        started = time.monotonic()
        with self.files.open_parts() as parts:
            call("operator", "gateway", "PUT", f"{path}/files", files=parts)
        call("operator", "gateway", "POST", f"{path}/process")
        shown = ""

        def show(answer: dict[str, Any]) -> None:
            nonlocal shown
            stage = f"gateway: {answer['stage']}" if answer.get("stage") else shown
            if stage != shown:
                if shown:
                    self.stages.end(shown)
                self.stages.begin(stage)
                shown = stage
            if stage:
                self.stages.advance(stage, answer.get("done") or 0, answer.get("of") or None)

        report = self.client.poll("operator", "gateway", path, each=show)["report"]
        if shown:
            self.stages.end(shown)
        result.report = report
        rest = max(0.0, time.monotonic() - started - sum(report["seconds"].values()))
        self.stages.done.append(Stage("gateway: receive files", rest, "", self.files.size))
        self.stages.done += _gateway_stages(report)

    def _compute(self) -> str:
        """Bills, as the billing staff orders them."""
        order = {"plan": "bill", "purpose": "billing", **self._bounds}
        call = self.client.call
        run_id = call("billing", "platform", "POST", "/runs", json=order)["run_id"]
        with self.stages.part("bill jobs") as advance:

            def show(answer: dict[str, Any]) -> None:
                advance(answer.get("done") or 0, answer.get("of") or None)

            answer = self.client.poll("billing", "platform", f"/runs/{run_id}", each=show)
        return f"{answer['of']} jobs"

    def _ask(self) -> str:
        """Load curves, asked for with an anonymous grant and computed."""
        with self.stages.part("load-curve jobs") as advance:

            def show(progress: QueryProgress) -> None:
                advance(progress.done, progress.of or None)

            done = self.analyst.ask(self.files.month, each=show)
        return f"{done.of} jobs, 1 grant"

    def _release(self, result: MonthResult) -> str:
        """What waits, once both officers approved it."""
        start = partial(self.client.call, "custodian", "authority", "POST", "/release-rounds")
        waiting = [one["request_id"] for one in start() if one["state"] == "waiting"]
        self._approve(result, waiting)
        refused = [outcome for outcome in start() if outcome["state"] != "released"]
        if refused:
            raise GridSecureError(
                "The key authority refused a release.",
                reason=refused[0].get("reason") or "release.refused",
                remedy="The reason code says which check failed; the evidence log has the entry.",
            )
        every = self.client.call("billing", "authority", "GET", "/releases")
        releases = [one for one in every if one["release_id"] in waiting]
        result.cells = sum(item["cells"] for item in releases)
        result.suppressed = sum(item["suppressed"] for item in releases)
        return f"{len(releases)} releases, {result.cells:,} cells"

    def _approve(self, result: MonthResult, waiting: Sequence[str]) -> None:
        """As the officers, each with a key of their own: approve what this run asked for."""
        for user in APPROVERS:
            call, key = partial(self.client.call, user), self._home.people[user]
            done = approve_waiting(call, key=key, requests=waiting, now=utc_now())
            result.approvals += [
                f"{one.subject.plan} for {one.subject.purpose}: {user}, key "
                f"{key.public_key.thumbprint[:12]}"
                for one in done
            ]

    def _compare(self, result: MonthResult, curve: Release) -> str:
        """Open the statements as the billing office, and compare them with what is expected."""
        month, start, call = self.files.month, self._bounds["start"], self.client.call
        keys = {name: key.public_key for name, key in self._home.keys.items()}
        own = self._home.keys["billing-office"]
        office = BillingOffice(partial(call, "billing"), own, keys["authority"], keys["gateway"])
        proven = office.prove_accounts(month=month, start=start)
        certificates = office.fetch_certificates(start=start)
        statements = office.open_statements(certificates)
        result.document = assign_bills(statements, proven)
        attach_receipts(result.document, office.fetch_receipts(month))
        expected = office.fetch_expected_digests(month, certificates)
        found = check_statements(expected, statements=statements)
        result.bills, result.mismatches = found.bills, found.mismatches
        pinned = pin_authority(self._home.point("authority"))
        bills = []
        for name in certificates:
            # With its values: the office's own copies have none, because it shows them to gateways.
            told = json.dumps(call("billing", "authority", "GET", f"/releases/{name}")).encode()
            bills.append(verify_release(told, release_id=name, authority=pinned))
        result.totals = reconcile_month(intake_of(result.report), bills=bills, curves=[curve])
        return (
            f"{found.bills:,} bills, {found.mismatches} mismatches, "
            f"{len(proven.names):,} accounts proved ownership"
        )


def bill_file(months: Sequence[MonthResult]) -> bytes:
    """The bills of months in one document, by meter point, each meter point's in order."""
    meters: dict[str, dict[str, Any]] = {}
    for month in months:
        for name, bill in month.document["meters"].items():
            meters.setdefault(name, {"periods": []})["periods"] += bill["periods"]
    return json.dumps({"meters": dict(sorted(meters.items()))}, ensure_ascii=False).encode()


def _gateway_stages(report: Mapping[str, Any]) -> Iterator[Stage]:
    """The gateway's stages in the order that they were in."""
    counts = {
        "validate": f"{report['readings']:,} readings, {report['estimated']:,} estimated",
        "encrypt": f"{report['columns']:,} columns",
        "admit": f"{report['billed_meters']:,} of {report['meters']:,} meter points",
        "rosters": f"{report['rosters']} rosters",
    }
    sizes = {"upload": report.get("bytes_uploaded"), "encrypt": report.get("bytes_stored")}
    known = {name: place for place, name in enumerate(_GATEWAY_ORDER)}
    for name in sorted(report["seconds"], key=lambda name: known.get(name, len(known))):
        seconds = report["seconds"][name]
        yield Stage(f"gateway: {name}", seconds, counts.get(name, ""), sizes.get(name))
