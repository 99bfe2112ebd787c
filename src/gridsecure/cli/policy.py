"""The commands of `gridsecure policy`: what may be released, of how many customers at the least.

An officer's key stays on the officer's machine. What is signed is the digest of a policy's text.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.known_vault import UNVERIFIED, KnownVaultOption, known_vault
from gridsecure.cli.office_options import (
    AuthorityUrlOption,
    IdentityUrlOption,
    PlatformUrlOption,
    without_slash,
)
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result
from gridsecure.cli.period import PersonOption
from gridsecure.errors import InputError

with on_use():
    from gridsecure import approvals
    from gridsecure.cli import online
    from gridsecure.offices import files as office_files
    from gridsecure.offices import policies
    from gridsecure.plans import cells
    from gridsecure.policy import decisions, language, packs, signed_policies, strictest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gridsecure.approvals import ApproverRole
    from gridsecure.identity_messages import Audience
    from gridsecure.offices.custodians import KnownVault
    from gridsecure.offices.officers import Call
    from gridsecure.offices.policies import PolicyKeeper
    from gridsecure.wire.policies import PolicyTakenIn

policy_app = typer.Typer(
    help="Show, check, compare and sign release policies, and put them in force.",
    no_args_is_help=True,
)

NamedArgument = Annotated[
    str, typer.Argument(help="A policy that ships, or a file (.toml, or .json once signed).")
]
AtIdentityOption = Annotated[
    str, typer.Option("--identity", help="Where to sign in.", callback=without_slash)
]
AtAuthorityOption = Annotated[
    str,
    typer.Option(
        "--authority", help="Key authority whose policy is meant.", callback=without_slash
    ),
]
AtPlatformOption = Annotated[
    str,
    typer.Option("--platform", help="Platform whose policy is meant.", callback=without_slash),
]
AtKeyOption = Annotated[Path | None, typer.Option("--key", help="Key that you sign in with.")]
REFUSED = "refused"
WITHHELD = "nothing told"


@policy_app.command("list")
@explain_errors
def list_policies(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """List the policies that ship."""
    regions = {name: region for region, name in packs.REGIONS.items()}
    rows = [
        _head(packs.load_pack(name)) | {"region": regions.get(name, "")}
        for name in packs.list_packs()
    ]
    print_result({"policies": rows}, output, show=lambda console: _show_heads(rows, console))


@policy_app.command("show")
@explain_errors
def show(  # noqa: PLR0913 - one parameter an option
    policy: NamedArgument = "",
    *,
    region: Annotated[str, typer.Option(help="The policy for a region, as cn or us.")] = "",
    text: Annotated[bool, typer.Option("--text", help="The file as it was written.")] = False,
    identity: AtIdentityOption = "",
    authority: AtAuthorityOption = "",
    platform: AtPlatformOption = "",
    key: AtKeyOption = None,
    vault_key: KnownVaultOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Print what a policy permits; with an address, the one that is in force there."""
    if bool(region) + bool(policy) + bool(authority or platform) > 1:
        raise InputError(
            "One policy is shown: a named one, a region's, or the one in force at a service.",
            reason="policy.which",
            remedy="Leave the others out.",
        )
    if authority or platform:
        with _signed_in(identity, authority, platform, key) as (call, service):
            known = known_vault(key, vault_key) if key is not None else None
            found = _read_in_force(call, service, known)
    elif region:
        found = packs.find_regional(region)
    else:
        found = signed_policies.load_policy(policy or packs.STRICT)
    if text:
        typer.echo(found.text, nl=False)
        return
    document = _document(found)
    print_result(document, output, show=lambda console: _show(document, console))


@policy_app.command("check")
@explain_errors
def check(file: NamedArgument) -> None:
    """Check a policy: that it says one thing, and no more than the release gate enforces."""
    found = signed_policies.load_policy(file)
    Console().print(
        f"Policy {found.name}, version {found.version}, can be enforced: {found.digest}",
        soft_wrap=True,
    )


@policy_app.command("diff")
@explain_errors
def diff(  # noqa: PLR0913 - one parameter an option
    before: NamedArgument,
    after: Annotated[
        str, typer.Argument(help="Another one; left out, the first is compared with what holds.")
    ] = "",
    *,
    identity: AtIdentityOption = "",
    authority: AtAuthorityOption = "",
    platform: AtPlatformOption = "",
    key: AtKeyOption = None,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Print every case that two policies decide otherwise, and which of them are looser.

    With an address, one policy is compared with what is in force there.
    """
    if bool(after) == bool(authority or platform):
        raise InputError(
            "Two policies are compared, or one with what is in force at a service.",
            reason="policy.diff",
            remedy="Name two policies; or one, and --authority or --platform.",
        )
    if after:
        first, second = map(signed_policies.load_policy, (before, after))
    else:
        second = signed_policies.load_policy(before)
        with _signed_in(identity, authority, platform, key) as (call, service):
            served, _ = policies.read_in_force(call, service)
        first = second if served is None else served.policy
    changes = decisions.compare_policies(first, second)
    rows = [
        one.case._asdict()
        | _terms("before", one.before)
        | _terms("after", one.after)
        | {"is_looser": one.is_looser}
        for one in changes
    ]
    print_result({"changes": rows}, output, show=lambda console: _show_changes(rows, console))


@policy_app.command("strictest")
@explain_errors
def print_strictest(
    policies: Annotated[list[str], typer.Argument(help="Policies that ship, or files.")],
    *,
    name: Annotated[str, typer.Option(help="What it is called.")] = "joint",
    version: Annotated[int, typer.Option(help="A later one has a larger one.")] = 1,
) -> None:
    """Print the policy that is as strict as each of some, to be signed like any other."""
    found = map(signed_policies.load_policy, policies)
    typer.echo(strictest.find_strictest(found, name=name, version=version).text, nl=False)


@policy_app.command("explain")
@explain_errors
def explain(
    policy: NamedArgument,
    *,
    purpose: Annotated[str, typer.Option(help="What it is asked for, as operations.")],
    measure: Annotated[str, typer.Option(help="What is asked, as energy_wh.")],
    resolution: Annotated[str, typer.Option(help="monthly, daily or interval.")],
    customer_class: Annotated[str, typer.Option("--class", help="As contracts name it.")],
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Say which rule decides a request, and what else of these customers may be told."""
    found = signed_policies.load_policy(policy)
    asked = decisions.read_case(
        measure=measure, resolution=resolution, customer_class=customer_class, purpose=purpose
    )
    rule, terms = decisions.decide(found, asked), decisions.find_terms(found, asked)
    permitted = [
        (case, other.minimum)
        for case in decisions.list_cases([customer_class])
        for other in [decisions.decide(found, case)]
        if other is not None
    ]
    document = {
        "policy": found.digest,
        "asked": asked._asdict(),
        "grade": found.grades[asked.resolution],
        "group": found.find_group(customer_class),
        "rule": rule and rule.name,
        "minimum": rule and rule.minimum,
        "dominance": _share(terms.dominance) if terms else None,
        "customer_points": terms.customer_points if terms else 0,
        "approvals": _spoken(terms.approvals) if terms else [],
        "limits": _limits(terms.budget, terms.expires) if terms else [],
        "private": terms.private.said if terms and terms.private else "",
        "sources": {name: found.sources[name] for name in rule.sources} if rule else {},
        "permitted": [case._asdict() | {"minimum": fewest} for case, fewest in permitted],
    }
    print_result(document, output, show=lambda console: _show_case(document, console))


@policy_app.command("sign")
@explain_errors
def sign(
    policy: NamedArgument,
    *,
    key: Annotated[Path, typer.Option(help="The officer's SM2 key (32 bytes, mode 0600).")],
    person: Annotated[str, typer.Option(help="The officer, as the services name you.")],
    role: Annotated[str, typer.Option(help="data-owner or privacy-officer.")],
    output: Annotated[Path, typer.Option("--output", help="The signed policy (.json).")],
) -> None:
    """Sign a policy with your own key, beside the signatures that it has."""
    own = office_files.officer_key(key)
    document = signed_policies.read_document(policy)
    signed = signed_policies.sign_policy(
        document, person=person, role=_role(role), key=own, now=online.utc_now()
    )
    office_files.write_public(output, signed.model_dump_json(indent=1) + "\n")
    found = language.parse_policy(signed.text)
    said = [signed_policies.PolicySignature.parse(one.body).role for one in signed.signatures]
    Console().print(
        f"{found.name}, version {found.version} ({found.digest}), is signed by: {', '.join(said)}.",
        soft_wrap=True,
    )


@policy_app.command("put")
@explain_errors
def put(
    policy: NamedArgument,
    *,
    identity: IdentityUrlOption,
    authority: AuthorityUrlOption,
    platform: PlatformUrlOption,
    key: PersonOption,
) -> None:
    """Put a signed policy in force at key authority, vault and platform, from its day on."""
    document = signed_policies.read_document(policy)
    addresses: dict[Audience, str] = {"authority": authority, "platform": platform}
    with online.person(identity, key=key, services=addresses) as call:
        taken = policies.put_policy(call, document, service="authority")
        policies.put_policy(call, document, service="platform")
    _show_taken_in(taken, Console())


def _show_taken_in(taken: PolicyTakenIn, console: Console) -> None:
    """What holds from now or its day on, and what that lets out."""
    console.print(f"{taken.name}, version {taken.version}, was taken in.", style="bold")
    for one in taken.looser:
        before, after = (n or REFUSED for n in (one.before, one.after))
        number = f"{one.resolution} {one.measure} of {one.customer_class}"
        # Of as many customers, what is looser is who approves, how often, how long or how large.
        terms = "on looser terms" if one.before == one.after else f"{before} to {after}"
        console.print(Text(f"looser: {number}, for {one.purpose}: {terms}"))
    console.print(f"{len(taken.looser)} cases are looser than before.")


def _role(text: str) -> ApproverRole:
    for known in approvals.APPROVER_ROLES:
        if text == known:
            return known
    raise InputError(
        "Policies are signed by officers of two roles.",
        reason="policy.role",
        remedy=f"Give --role as one of: {', '.join(approvals.APPROVER_ROLES)}.",
    )


@contextmanager
def _signed_in(
    identity: str, authority: str, platform: str, key: Path | None
) -> Iterator[tuple[Call, PolicyKeeper]]:
    """Somebody signed in at one of the services that have a policy."""
    if not identity or key is None or bool(authority) == bool(platform):
        raise InputError(
            "Whoever asks a service for its policy signs in there.",
            reason="policy.sign-in",
            remedy="Give --identity, --key, and one of --authority and --platform.",
        )
    service: PolicyKeeper = "authority" if authority else "platform"
    with online.person(identity, key=key, services={service: authority or platform}) as call:
        yield call, service


def _read_in_force(call: Call, service: PolicyKeeper, known: KnownVault | None) -> language.Policy:
    """The policy in force at a service; on the error stream who signed it, and what waits.

    Raises:
        InputError: There is none yet (`policy.early`).
    """
    served, waiting = policies.read_in_force(call, service)
    if service == "authority":
        held = policies.read_vault_policy(call, known=known).in_force
        is_same = (held and held.digest) == (served and served.policy.digest)
        other = f"ANOTHER one ({held.digest if held else 'none yet'})"
        note = "" if known else f" {UNVERIFIED}"
        typer.echo(f"The vault holds to {'the same' if is_same else other}.{note}", err=True)
    for one in waiting:
        typer.echo(f"Waiting: {one}.", err=True)
    if served is None:
        raise InputError(
            "No policy is in force there yet.",
            reason="policy.early",
            remedy="Wait for its day, or put one in force that holds until then.",
        )
    for signed in served.told.signatures:
        said = signed_policies.PolicySignature.parse(signed.body)
        typer.echo(f"Signed by {said.person}, {said.role}, at {said.signed_at}.", err=True)
    return served.policy


def _show_case(document: dict[str, Any], console: Console) -> None:
    asked = document["asked"]
    console.print(
        Text(
            f"{asked['resolution']} {asked['measure']} of {asked['customer_class']}, for "
            f"{asked['purpose']} by {asked['role']}: grade {document['grade']}, "
            f"group {document['group'] or 'none'}"
        )
    )
    if document["rule"] is None:
        console.print("Refused: no rule permits it.", style="bold")
    else:
        said = f"Rule {document['rule']}: at least {document['minimum']} customers."
        console.print(said, style="bold")
        if document["dominance"]:
            console.print(f"None of them has more than {document['dominance']} % of the cell.")
            console.print(_points(document["customer_points"]))
        console.print(f"Approved by {', '.join(document['approvals']) or 'nobody'}.")
        if document["limits"]:
            console.print(f"Only {', '.join(document['limits'])}.")
        if document["private"]:
            console.print(f"Told {document['private']}, never exactly.")
    for name, title in document["sources"].items():
        console.print(Text(f"{name}: {title}"), soft_wrap=True)
    table = Table("of these customers", "for", "by", "at least", title="What is permitted")
    for one in document["permitted"]:
        number = f"{one['resolution']} {one['measure']}"
        table.add_row(*map(Text, (number, one["purpose"], one["role"], str(one["minimum"]))))
    console.print(table if document["permitted"] else "Nothing of these customers is permitted.")


def _terms(when: str, terms: decisions.Terms | None) -> dict[str, Any]:
    return {
        when: terms and terms.minimum,
        f"{when}_dominance": _share(terms.dominance) if terms else None,
        f"{when}_customer_points": terms.customer_points if terms else 0,
        f"{when}_approvals": _spoken(terms.approvals) if terms else [],
        f"{when}_limits": _limits(terms.budget, terms.expires) if terms else [],
        f"{when}_private": terms.private.said if terms and terms.private else "",
    }


def _share(dominance: int) -> int | None:
    """The largest share of a cell that one customer may have [%]; None where there is no limit."""
    return dominance if dominance < cells.WHOLE else None


def _points(number: int) -> str:
    """What a customer is taken to have, where that matters."""
    said = f"at most {number}" if number else "any number of"
    return f"A customer is taken to have {said} meter points."


def _spoken(approvals: language.Approvals) -> list[str]:
    """Roles, and whether they may approve in advance."""
    return [
        f"{role} (or standing)" if role in approvals.standing else role
        for role in sorted(approvals.roles)
    ]


def _limits(budget: int | None, expires: datetime | None) -> list[str]:
    """How often and until when something is permitted, where that has an end."""
    often = [] if budget is None else [f"{budget} releases a month"]
    return often if expires is None else [*often, f"until {expires.isoformat()}"]


def _told(row: dict[str, Any], when: str) -> str:
    """Terms in few words: how many customers, the largest, who approves, how often, until when."""
    minimum, share = row[when], row[f"{when}_dominance"]
    if minimum is None:
        return REFUSED
    points = row[f"{when}_customer_points"]
    limit = [f"{share} %" + (f" of {points} points" if points else "")] if share else []
    fewest = str(minimum or WITHHELD)
    noise = [row[f"{when}_private"]] if row[f"{when}_private"] else []
    said = (fewest, *limit, *row[f"{when}_approvals"], *row[f"{when}_limits"], *noise)
    return " + ".join(said)


def _head(policy: language.Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "version": policy.version,
        "in_force_from": policy.in_force_from.isoformat(),
        "expires": policy.expires and policy.expires.isoformat(),
        "title": policy.title,
        "digest": policy.digest,
    }


def _document(policy: language.Policy) -> dict[str, Any]:
    return _head(policy) | {
        "grades": dict(policy.grades),
        "class_groups": {name: sorted(group) for name, group in policy.class_groups.items()},
        "sources": dict(policy.sources),
        "customer_points": policy.customer_points,
        "private": policy.private.said if policy.private else "",
        "rules": [
            {
                "name": rule.name,
                "measures": sorted(rule.measures),
                "grades": sorted(rule.grades),
                "classes": sorted(rule.classes),
                "roles": sorted(rule.roles),
                "purposes": sorted(rule.purposes),
                "minimum": rule.minimum,
                "dominance": _share(rule.dominance),
                "approvals": _spoken(language.Approvals(rule.approvals, rule.standing)),
                "limits": _limits(rule.budget, rule.expires),
                "sources": list(rule.sources),
            }
            for rule in policy.rules
        ],
    }


def _show_heads(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("name", "region", "version", "what it says")
    for row in rows:
        table.add_row(row["name"], row["region"], str(row["version"]), Text(row["title"]))
    console.print(table)


def _show(document: dict[str, Any], console: Console) -> None:
    console.print(Text(document["title"]))
    console.print(
        f"{document['name']}, version {document['version']}, from {document['in_force_from']}"
    )
    console.print(f"digest {document['digest']}", soft_wrap=True)
    grades = ", ".join(f"{name} {grade}" for name, grade in document["grades"].items())
    console.print(f"grades: {grades}")
    for name, classes in document["class_groups"].items():
        console.print(Text(f"{name}: {', '.join(classes)}"))
    for rule in document["rules"]:
        told = {n: ", ".join(map(str, rule[n])) for n in ("measures", "grades", "classes")}
        asked = {n: ", ".join(rule[n]) for n in ("roles", "purposes", "sources")}
        share = f", none above {rule['dominance']} %" if rule["dominance"] else ""
        console.print(
            Text.assemble(
                (f"{rule['name']}: at least {rule['minimum']} customers{share}\n", "bold"),
                f"  approved by {', '.join(rule['approvals']) or 'nobody'}\n",
                f"  only {', '.join(rule['limits'])}\n" if rule["limits"] else "",
                f"  of {told['classes']}: {told['measures']} of grade {told['grades']}\n",
                f"  for {asked['purposes']}; by {asked['roles']} ({asked['sources']})",
            )
        )
    for name, title in document["sources"].items():
        console.print(Text(f"{name}: {title}"), soft_wrap=True)
    if any(rule["dominance"] for rule in document["rules"]):
        console.print(_points(document["customer_points"]))
    if document["private"]:
        console.print(f"Analysts are told numbers {document['private']}, and no others.")
    console.print("What no rule permits is refused.")


def _show_changes(rows: list[dict[str, Any]], console: Console) -> None:
    if not rows:
        console.print("The two policies decide every case alike.")
        return
    table = Table("number", "customers", "asked by", "for", "before", "after", "")
    for row in rows:
        number = f"{row['resolution']} {row['measure']}"
        numbers = (_told(row, when) for when in ("before", "after"))
        verdict = "looser" if row["is_looser"] else "stricter"
        named = (number, row["customer_class"], row["role"], row["purpose"])
        table.add_row(*map(Text, named), *numbers, verdict)
    console.print(table)
    looser = sum(row["is_looser"] for row in rows)
    console.print(f"{looser} cases are looser, {len(rows) - looser} stricter.")
