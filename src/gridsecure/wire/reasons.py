"""Every reason code of the product, read from where its errors are made.

The page `reasons.md` is written from it whenever the documentation is built, and every service
answers `/reasons/{code}` from it. A code that is made from parts at run time, as `tariff.{code}`,
stands there with its varying part in braces.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gridsecure.errors import NotFoundError

PACKAGES: Final = ("gridsecure", "gridsecure_api", "gridsecure_dashboard")
"""Packages whose errors people meet; those that are installed are read."""
CODE: Final = re.compile(r"^(?:[a-z0-9-]+|[a-z0-9{}_-]+(?:\.[a-z0-9{}_-]+)+)$")
_HEAD: Final = """# Reason codes

An error names its reason as `area.what`. The message of the moment says which file, line or meter
point it is about; this page says what each code means and what to do. It is generated from the
code. Words in braces stand for what varies. What a service does not trust it refuses as
`authenticity.refused`, whatever the code; its log has the code. Every service answers the same at
`/reasons/CODE`, and the `type` of an error's body is that address.
"""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One place where a code is given.

    Args:
        remedy: What to do; empty where the error carries none.
    """

    code: str
    message: str
    remedy: str


@cache
def reason_codes() -> tuple[Meaning, ...]:
    """Every meaning of every code, by code; the same sentences under one code stand once.

    Read from the sources once in a process, which takes some seconds.
    """
    paths = [path for folder in _folders() for path in sorted(folder.rglob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    everywhere = dict(pair for tree in trees.values() for pair in _constants(tree))
    found = {
        meaning
        for tree in trees.values()
        for names in [everywhere | dict(_constants(tree))]  # a module's own come first
        for node in ast.walk(tree)
        for meaning in _meanings(node, names)
    }
    return tuple(sorted(found, key=lambda meaning: (meaning.code, meaning.message, meaning.remedy)))


def _folders() -> list[Path]:
    specs = [find_spec(name) for name in PACKAGES]
    return [
        Path(folder) for spec in specs if spec for folder in spec.submodule_search_locations or ()
    ]


def meanings_of(code: str) -> list[Meaning]:
    """What a code means: as it stands in the code, or else by the pattern it was made from.

    Raises:
        NotFoundError: There is no such code (`not-found.reason`).
    """
    known = reason_codes()
    found = [meaning for meaning in known if meaning.code == code]
    if not found:
        found = [meaning for meaning in known if _is_made_from(code, meaning.code)]
    if not found:
        raise NotFoundError(
            "There is no such reason code.",
            reason="not-found.reason",
            remedy="Copy it whole from the error.",
        )
    return found


def _is_made_from(code: str, pattern: str) -> bool:
    """Whether a code is a pattern whose words in braces were filled in; a bare word is none."""
    if "{" not in pattern:
        return False
    parts = [re.escape(part) for part in re.split(r"\{[^}]*\}", pattern)]
    return any(parts) and re.fullmatch("[a-z0-9_-]+".join(parts), code) is not None


def reasons_page(meanings: Sequence[Meaning]) -> str:
    """The page in Markdown: a heading for each area, and a heading for each code."""
    lines, area, code = [_HEAD], "", ""
    for meaning in meanings:
        if (new := meaning.code.split(".")[0]) != area:
            area = new
            lines.append(f"\n## {area}\n")
        if meaning.code != code:
            code = meaning.code
            lines.append(f"\n({_anchor(code)})=\n\n### `{code}`\n")
        remedy = f" *What to do:* {_escaped(meaning.remedy)}" if meaning.remedy else ""
        lines.append(f"- {_escaped(meaning.message)}{remedy}")
    return "\n".join(lines)


def _meanings(node: ast.AST, names: Mapping[str, str]) -> Iterator[Meaning]:
    """What an error is raised with, an error class has by default, or a table of reasons says."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="Problem"), attr="of"), args=[reason]):
            told = {keyword.arg: _text(keyword.value, names) for keyword in node.keywords}
            code = _text(reason, names)
            if CODE.match(code):
                yield Meaning(code, told["message"], told["remedy"])
        case ast.Call(args=[first, *_], keywords=keywords):
            given = {keyword.arg: keyword.value for keyword in keywords if keyword.arg}
            message = _text(first, names)
            remedy = _text(given["remedy"], names) if "remedy" in given else ""
            found = _choices(given["reason"], names) if "reason" in given and message else []
            yield from (Meaning(code, message, remedy) for code in found if CODE.match(code))
        case ast.ClassDef(body=body):
            words = (ast.get_docstring(node) or "").split("\n")[0]
            yield from (Meaning(code, words, "") for code in _defaults(body) if CODE.match(code))
        case ast.AnnAssign(target=ast.Name(id="REASONS"), value=ast.Dict(keys=keys, values=texts)):
            for key, text in zip(keys, texts, strict=True):
                code = _text(key, names) if key else ""
                if CODE.match(code):
                    said = _text(text, names)
                    yield Meaning(code, f"A meter point is left out: {said}.", "")


def _defaults(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id="default_reason")], value=ast.Constant(value=str(code))
            ):
                yield code


def _choices(node: ast.expr, names: Mapping[str, str]) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _choices(node.body, names) + _choices(node.orelse, names)
    return [_text(node, names)]


def _text(node: ast.expr, names: Mapping[str, str]) -> str:
    """A text as the source spells it, with {names} where something is put in; empty if none."""
    match node:
        case ast.Constant(value=value):
            text = value if isinstance(value, str) else ""
        case ast.Name(id=name):
            text = names.get(name, "{" + name + "}")
        case ast.JoinedStr(values=parts):
            text = "".join(_text(part, names) for part in parts)
        case ast.FormattedValue(value=ast.Name() as inner):
            text = _text(inner, names)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            text = _text(left, names) + _text(right, names)
        case ast.IfExp(body=body, orelse=orelse):
            text = f"{_text(body, names)} / {_text(orelse, names)}"
        case _:
            text = "{" + _word(node) + "}"
    return text


def _word(node: ast.expr) -> str:
    """A short name for what is put into a sentence."""
    inner = [part for part in ast.walk(node) if isinstance(part, ast.Attribute | ast.Name)]
    if not inner:
        return "…"
    first = inner[0]
    return first.attr if isinstance(first, ast.Attribute) else first.id


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that a module gives to texts."""
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text)))
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(text)))
            ):
                yield name, text


def _anchor(code: str) -> str:
    """Of a code, and of no other: an id has no dots, and `a-b` is a code beside `a.b`."""
    kind = "reason-" if "." in code else "rule-"
    return kind + re.sub(r"[^a-z0-9]+", "-", code).strip("-")


def _escaped(text: str) -> str:
    return re.sub(r"([*_<>\[\]])", r"\\\1", " ".join(text.split()))
