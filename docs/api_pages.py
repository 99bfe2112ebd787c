"""Writes the reference of the public library: a page a room, from the docstrings of its modules.

The pages are made anew at every build, so they name what the tree holds and nothing else. The rooms
of the parties (gateway, platform, key authority, identity) are not here: their public face is their
service, described by its own OpenAPI page.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src" / "gridsecure"

# Room -> what a reader looks for there. The order is that of the navigation.
ROOMS = {
    "tariffs": "Tariff files: read, checked, compared, imported from the URDB",
    "billing": "Bills in the open: readings, settlements, charges, corrections",
    "plans": "What is computed on ciphertext, and how",
    "homomorphic": "Exact arithmetic on encrypted integers",
    "crypto": "Commercial cryptography: SM2, SM3, SM4, envelopes, tokens",
    "credentials": "Anonymous credentials",
    "queries": "Analysts' questions, their groups and steps",
    "circulation": "Documents of the data market, and the rules between them",
    "statements": "A customer's statement from a bill",
    "client": "For programs: meter-data systems and analysts, sync and async",
    "analyst": "The client of released results",
    "head_end": "The client of the ingestion API",
    "transparency": "Merkle trees, tiles, signed notes, checkpoints and proofs of logs",
    "store": "Databases, objects by digest, the evidence log",
}
# Modules that belong to no room.
FOUNDATIONS = ("errors", "messages", "identity_messages", "periods", "peer")

SECTION = re.compile(r"(?:Args|Attributes|Example|Raises|Returns|Yields):$")
ITEM = re.compile(r"(?:- |\d+\. )")


def api_pages() -> dict[str, str]:
    """Every page by its file name."""
    pages = {f"{room}.rst": _page(title, _modules(room)) for room, title in ROOMS.items()}
    alone = [f"gridsecure.{name}" for name in FOUNDATIONS if (SOURCES / f"{name}.py").is_file()]
    pages["foundations.rst"] = _page("Errors, messages and periods", alone)
    pages["index.rst"] = _index()
    return pages


def write_api_pages(folder: Path) -> None:
    """Write the pages; those of rooms that are gone disappear."""
    folder.mkdir(exist_ok=True)
    pages = api_pages()
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def as_rst(lines: list[str]) -> list[str]:
    """A docstring as we write it, as reStructuredText: code in backticks, lists, indented blocks.

    Sections (`Args:` and the like) stay for napoleon, which reads them by their indentation.
    """
    end = next((at for at, line in enumerate(lines) if SECTION.match(line)), len(lines))
    blocks: list[tuple[str, list[str]]] = []
    for line in lines[:end]:
        kind = _kind(line, blocks[-1][0] if blocks else "")
        if not blocks or kind != blocks[-1][0]:
            blocks.append((kind, []))
        blocks[-1][1].append(line)
    written: list[str] = []
    for kind, block in [*blocks, ("sections", lines[end:])]:
        if written and written[-1].strip():
            written.append("")
        if kind == "literal":
            written += ["::", "", *(f"    {line}" for line in block)]
        else:
            written += _escaped("\n".join(block)).split("\n")
    return written


def _kind(line: str, before: str) -> str:
    """What a line belongs to: an empty one to what stands before it."""
    if not line.strip():
        return "" if before != "literal" else before
    if ITEM.match(line) or (before == "list" and line.startswith("  ")):
        return "list"
    return "literal" if line.startswith(("  ", "|")) else "text"


def _escaped(text: str) -> str:
    """Backticks as code; signs that mean something to reStructuredText as themselves."""
    pieces = re.split(r"(`[^`]+`)", text)
    for at, piece in enumerate(pieces):
        if at % 2:
            # Code must not run into a letter; an escaped blank between them is not shown.
            runs_on = pieces[at + 1][:1].isalnum()
            pieces[at] = f"`{piece}`" + ("\\ " if runs_on else "")
        else:
            pieces[at] = re.sub(r"([*|\\]|(?<=\w)_(?!\w))", r"\\\1", piece)
    return "".join(pieces)


def _modules(room: str) -> list[str]:
    """Modules of a room that have a public name, rooms within it included."""
    found = []
    for path in sorted((SOURCES / room).rglob("*.py")):
        if path.name != "__init__.py" and _is_public(path):
            found.append(".".join(("gridsecure", *path.relative_to(SOURCES).with_suffix("").parts)))
    return found


def _is_public(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        for node in tree.body
    )


def _page(title: str, modules: list[str]) -> str:
    parts = [_heading(title, "=")]
    for module in modules:
        parts += [_heading(f"``{module}``", "-"), f".. automodule:: {module}\n"]
    return "\n".join(parts)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _index() -> str:
    names = "\n".join(f"   {name}" for name in ("foundations", *ROOMS))
    return f"""{_heading("Library reference", "=")}
The public functions and classes of ``gridsecure``, from their docstrings. Functions take what they
work on first and everything else by keyword. Times are aware, energy is in whole Wh, and money is
exact until a bill rounds it once. Every refusal is one of the :doc:`errors <foundations>` with a
:doc:`reason code </reasons>`.

.. toctree::
   :maxdepth: 1

{names}
"""
