"""The commands of `gridsecure approval`: an officer looks at what would be released, and decides.

The key stays on the officer's machine. What is signed is the digest of the text that is shown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.office_options import AuthorityUrlOption, IdentityUrlOption
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption

with on_use():
    from gridsecure.analyst import releases
    from gridsecure.cli import online
    from gridsecure.offices import approvals
    from gridsecure.offices import files as office_files

if TYPE_CHECKING:
    from gridsecure.offices.approvals import Decision
    from gridsecure.wire.asked_releases import AskedRelease

approval_app = typer.Typer(
    help="Approve what the key authority is asked to release, or reject it.", no_args_is_help=True
)

SubjectArgument = Annotated[str, typer.Argument(help="Digest of the request, or its first digits.")]
DaysOption = Annotated[int, typer.Option(min=1, max=31, help="How many days the decision holds.")]
NoteOption = Annotated[str, typer.Option(help="Why; everybody who reads the certificate sees it.")]
_USUAL_DAYS = 7


@approval_app.command("list")
@explain_errors
def list_waiting(
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    everything: Annotated[bool, typer.Option("--all", help="Also what was decided.")] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """List what waits for approvals, oldest first."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        found = approvals.list_asked(call, state="" if everything else "waiting")
    document = {"requests": [_document(one) for one in found]}
    print_result(document, output, show=lambda console: _show_list(found, console))


@approval_app.command("show")
@explain_errors
def show(
    subject: SubjectArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Show what would be released of whom, for what and under which policy."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        found = approvals.read_asked(call, subject)
        question = approvals.read_question(call, found) if found.subject.question else ""
    document = _document(found) | ({"question": json.loads(question)} if question else {})
    print_result(document, output, show=lambda console: _show(found, console, question=question))


@approval_app.command("sign")
@explain_errors
def sign(
    subject: SubjectArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    days: DaysOption = _USUAL_DAYS,
    note: NoteOption = "",
) -> None:
    """Approve one request with your own key."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        _decide(call, subject, "approve", key=key, days=days, note=note)


@approval_app.command("reject")
@explain_errors
def reject(
    subject: SubjectArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
    note: NoteOption = "",
) -> None:
    """Reject one request for good, also after you approved it."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        _decide(call, subject, "reject", key=key, days=_USUAL_DAYS, note=note)


@approval_app.command("check")
@explain_errors
def check(
    certificate: Annotated[
        Path, typer.Argument(help="A certificate, as `GET /releases/ID` gives it.")
    ],
    *,
    authority_key: Annotated[str, typer.Option(help="The key authority's key (130 digits).")],
    approver: Annotated[
        list[str], typer.Option(help="An officer, as data-owner=04…; may be given again.")
    ],
) -> None:
    """Check who approved a release, by the officers' keys and with no service asked."""
    pinned = releases.pin_authority(authority_key)
    envelope = office_files.read_certificate(certificate)
    grounds = approvals.verify_approved(envelope, authority=pinned.key, officers=approver)
    for ground in grounds:
        said = f"{ground.role}: {ground.person}, key {ground.signer[:12]}"
        said += ", by a standing authorisation" if ground.is_standing else ""
        Console().print(Text(said), soft_wrap=True)
    Console().print(f"{len(grounds)} officers approved it.")


@approval_app.command("revoke-key")
@explain_errors
def revoke_key(
    person: Annotated[str, typer.Argument(help="The officer, as the key authority names them.")],
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    key: PersonOption,
) -> None:
    """Let an officer's key approve nothing more, at once and for good: it was lost, say."""
    with online.person(identity, key=key, services={"authority": authority}) as call:
        call("authority", "POST", f"{approvals.APPROVERS}/{person}/revoke")
    Console().print(f"The key of {person} approves nothing any more.")


def _decide(call: Any, subject: str, decision: Decision, **terms: Any) -> None:
    own = office_files.officer_key(terms.pop("key"))
    found = approvals.read_asked(call, subject)
    question = approvals.read_question(call, found) if found.subject.question else ""
    console = Console()
    _show(found, console, question=question)
    signed = approvals.sign_decision(
        found.subject,
        found.digest,
        officer=approvals.find_officer(call, own),
        key=own,
        decision=decision,
        now=online.utc_now(),
        **terms,
    )
    after = approvals.send_decision(call, signed)
    if after.state == "rejected":
        console.print("Rejected: nothing of it is released.")
    elif after.missing:
        console.print(f"Approved. It still lacks: {', '.join(after.missing)}.")
    else:
        console.print("Approved. The next release round releases it.")


def _document(asked: AskedRelease) -> dict[str, Any]:
    return {
        "subject": asked.digest,
        "state": asked.state,
        "missing": list(asked.missing),
        "asked": asked.subject.model_dump(),
        "decisions": [one.model_dump() for one in asked.decisions],
    }


def _show_list(found: list[AskedRelease], console: Console) -> None:
    if not found:
        console.print("Nothing waits.")
        return
    table = Table("subject", "what", "from", "for", "asked by", "state", "lacks")
    for one in found:
        asked = one.subject
        told = (one.digest[:12], asked.plan, asked.start[:10], asked.purpose)
        lacks = ", ".join(one.missing)
        table.add_row(*map(Text, (*told, asked.requested_by[:24], one.state, lacks)))
    console.print(table)


def _show(found: AskedRelease, console: Console, *, question: str = "") -> None:
    asked = found.subject
    lines = {
        "Subject": found.digest,
        "What": f"{asked.plan}: {', '.join(asked.measures)}, {', '.join(asked.resolutions)}",
        "Time": f"{asked.start} to {asked.end}",
        "For": f"{asked.purpose}, asked by {asked.requested_by}",
        "Policy": f"{asked.policy_name}, version {asked.policy_version} ({asked.policy[:12]})",
        "Needs": ", ".join(asked.needed) or "nobody",
        "State": f"{found.state}{', lacks ' if found.missing else ''}{', '.join(found.missing)}",
    }
    if question:
        lines["Question"] = question
        lines["Cells"] = "all that lies there; whom the question is about, it says itself"
    for name, line in lines.items():
        console.print(Text(f"{name:<8} {line}"), soft_wrap=True)
    table = Table("zone", "class", "meter points")
    for cell in asked.cells:
        table.add_row(*map(Text, (cell.zone, cell.customer_class, f"{cell.meter_points:,}")))
    console.print(table)
