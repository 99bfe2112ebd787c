"""The commands of `gridsecure policy`: what may be released, of how many customers at the least."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gridsecure.cli.explained import explain_errors
from gridsecure.cli.on_use import on_use
from gridsecure.cli.output import FormatOption, OutputFormat, print_result

with on_use():
    from gridsecure.policy import decisions, language, packs

policy_app = typer.Typer(help="Show, check and compare release policies.", no_args_is_help=True)

NamedArgument = Annotated[str, typer.Argument(help="A policy that ships, or a file (.toml).")]
REFUSED = "refused"


@policy_app.command("list")
@explain_errors
def list_policies(*, output: FormatOption = OutputFormat.TABLE) -> None:
    """List the policies that ship."""
    rows = [_head(packs.load_pack(name)) for name in packs.list_packs()]
    print_result({"policies": rows}, output, show=lambda console: _show_heads(rows, console))


@policy_app.command("show")
@explain_errors
def show(
    policy: NamedArgument = "strict",
    *,
    text: Annotated[bool, typer.Option("--text", help="The file as it was written.")] = False,
    output: FormatOption = OutputFormat.TABLE,
) -> None:
    """Print what a policy permits."""
    found = packs.load_policy(policy)
    if text:
        typer.echo(found.text, nl=False)
        return
    document = _document(found)
    print_result(document, output, show=lambda console: _show(document, console))


@policy_app.command("check")
@explain_errors
def check(file: NamedArgument) -> None:
    """Check a policy: that it says one thing, and no more than the release gate enforces."""
    found = packs.load_policy(file)
    Console().print(
        f"Policy {found.name}, version {found.version}, can be enforced: {found.digest}",
        soft_wrap=True,
    )


@policy_app.command("diff")
@explain_errors
def diff(
    before: NamedArgument, after: NamedArgument, *, output: FormatOption = OutputFormat.TABLE
) -> None:
    """Print every case that two policies decide otherwise, and which of them are looser."""
    changes = decisions.compare_policies(*map(packs.load_policy, (before, after)))
    rows = [
        one.case._asdict()
        | _terms("before", one.before)
        | _terms("after", one.after)
        | {"is_looser": one.is_looser}
        for one in changes
    ]
    print_result({"changes": rows}, output, show=lambda console: _show_changes(rows, console))


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
    found = packs.load_policy(policy)
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
        "approvals": _spoken(terms.approvals) if terms else [],
        "sources": {name: found.sources[name] for name in rule.sources} if rule else {},
        "permitted": [case._asdict() | {"minimum": fewest} for case, fewest in permitted],
    }
    print_result(document, output, show=lambda console: _show_case(document, console))


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
        console.print(f"Approved by {', '.join(document['approvals']) or 'nobody'}.")
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
        f"{when}_approvals": _spoken(terms.approvals) if terms else [],
    }


def _spoken(approvals: language.Approvals) -> list[str]:
    """Roles, and whether they may approve in advance."""
    return [
        f"{role} (or standing)" if role in approvals.standing else role
        for role in sorted(approvals.roles)
    ]


def _told(minimum: int | None, approvals: list[str]) -> str:
    """Terms in few words: the number of customers, and who approves."""
    return REFUSED if minimum is None else " + ".join((str(minimum), *approvals))


def _head(policy: language.Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "version": policy.version,
        "in_force_from": policy.in_force_from.isoformat(),
        "title": policy.title,
        "digest": policy.digest,
    }


def _document(policy: language.Policy) -> dict[str, Any]:
    return _head(policy) | {
        "grades": dict(policy.grades),
        "class_groups": {name: sorted(group) for name, group in policy.class_groups.items()},
        "sources": dict(policy.sources),
        "rules": [
            {
                "name": rule.name,
                "measures": sorted(rule.measures),
                "grades": sorted(rule.grades),
                "classes": sorted(rule.classes),
                "roles": sorted(rule.roles),
                "purposes": sorted(rule.purposes),
                "minimum": rule.minimum,
                "approvals": _spoken(language.Approvals(rule.approvals, rule.standing)),
                "sources": list(rule.sources),
            }
            for rule in policy.rules
        ],
    }


def _show_heads(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("name", "version", "what it says")
    for row in rows:
        table.add_row(row["name"], str(row["version"]), Text(row["title"]))
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
        console.print(
            Text.assemble(
                (f"{rule['name']}: at least {rule['minimum']} customers\n", "bold"),
                f"  approved by {', '.join(rule['approvals']) or 'nobody'}\n",
                f"  of {told['classes']}: {told['measures']} of grade {told['grades']}\n",
                f"  for {asked['purposes']}; by {asked['roles']} ({asked['sources']})",
            )
        )
    for name, title in document["sources"].items():
        console.print(Text(f"{name}: {title}"), soft_wrap=True)
    console.print("What no rule permits is refused.")


def _show_changes(rows: list[dict[str, Any]], console: Console) -> None:
    if not rows:
        console.print("The two policies decide every case alike.")
        return
    table = Table("number", "customers", "asked by", "for", "before", "after", "")
    for row in rows:
        number = f"{row['resolution']} {row['measure']}"
        numbers = (_told(row[n], row[f"{n}_approvals"]) for n in ("before", "after"))
        verdict = "looser" if row["is_looser"] else "stricter"
        named = (number, row["customer_class"], row["role"], row["purpose"])
        table.add_row(*map(Text, named), *numbers, verdict)
    console.print(table)
    looser = sum(row["is_looser"] for row in rows)
    console.print(f"{looser} cases are looser, {len(rows) - looser} stricter.")
