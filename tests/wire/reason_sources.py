"""Read every reason code from the places in the code where errors are made.

Run as a program, it writes the table that `gridsecure.wire.reasons` reads.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gridsecure.wire.reasons import TABLE, Meaning

ROOT: Final = Path(__file__).parents[2]
CODE: Final = re.compile(r"^(?:[a-z0-9-]+|[a-z0-9{}_-]+(?:\.[a-z0-9{}_-]+)+)$")
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def read_meanings() -> list[Meaning]:
    """Every meaning of every code, sorted; the same sentences under one code stand once."""
    paths = [path for room in ("src", "apps") for path in sorted((ROOT / room).rglob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    everywhere = dict(pair for tree in trees.values() for pair in _constants(tree))
    found = {
        meaning
        for tree in trees.values()
        for names in [everywhere | dict(_constants(tree))]  # a module's own come first
        for node in ast.walk(tree)
        for meaning in [*_meanings(node, names), *_chosen(node, names)]
    }
    said = {one.code for one in found if not _is_left_open(one.message)}
    kept = [one for one in found if one.code not in said or not _is_left_open(one.message)]
    return sorted(kept, key=lambda meaning: (meaning.code, meaning.message, meaning.remedy))


def _is_left_open(message: str) -> bool:
    """Whether a message is one variable and says nothing by itself."""
    return re.fullmatch(r"\{\w+\}", message) is not None


def table_text() -> str:
    """The table as its file has it: a meaning a line, so that changes merge."""
    rows = [
        json.dumps([one.code, one.message, one.remedy], ensure_ascii=False)
        for one in read_meanings()
    ]
    return "[\n" + ",\n".join(rows) + "\n]\n"


def _chosen(function: ast.AST, names: Mapping[str, str]) -> Iterator[Meaning]:
    """Codes that a function puts into a variable before it raises or returns the error."""
    if not isinstance(function, FUNCTIONS):
        return
    local = dict(names) | {
        target.id: text
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name)
        for text in [_text(node.value, names)]
    }
    for call in [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args]:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        message = _text(call.args[0], local)
        match given.get("reason"):
            case ast.Name(id=reason) if reason not in names:
                for block in _blocks(function):
                    told = {name: value for name, value in _assigned(block)}
                    remedy = told.get("remedy") or given.get("remedy")
                    for code in _choices(told[reason], names) if reason in told else []:
                        if "." in code and "{" not in code:
                            yield Meaning(code, message, _text(remedy, names) if remedy else "")
            case ast.JoinedStr() as made if isinstance(call.args[0], ast.Name):
                remedy = given.get("remedy")
                yield Meaning(_text(made, names), message, _text(remedy, names) if remedy else "")


def _blocks(function: ast.AST) -> Iterator[list[ast.stmt]]:
    """The statements that are carried out together."""
    for node in ast.walk(function):
        for name in ("body", "orelse"):
            if isinstance(block := getattr(node, name, None), list):
                yield block


def _assigned(block: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in block:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=True):
                    if isinstance(target, ast.Name):
                        yield target.id, value


def _meanings(node: ast.AST, names: Mapping[str, str]) -> Iterator[Meaning]:
    """What an error is raised with, an error class has by default, or a table of reasons says."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="Problem"), attr="of"), args=[reason]):
            told = {keyword.arg: _text(keyword.value, names) for keyword in node.keywords}
            code = _text(reason, names)
            if CODE.match(code):
                yield Meaning(code, told["detail"], told["remedy"])
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
    if isinstance(node, ast.BoolOp):
        texts = [value for value in node.values if not isinstance(value, ast.Name | ast.Call)]
        return [code for value in texts for code in _choices(value, names)]
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
        case ast.BoolOp(op=ast.Or(), values=[*_, last]):
            text = _text(last, names)
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


if __name__ == "__main__":
    TABLE.write_text(table_text(), encoding="utf-8")
