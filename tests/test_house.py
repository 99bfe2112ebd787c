"""The house rules that no off-the-shelf linter knows, proved over the whole tree.

Each rule is a function from a source text to the list of its breaches, and each has a second test
that feeds it a breach: a rule that can no longer see what it forbids would fail there.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

from gridsecure.tariffs.tariff import parse_tariff
from tests.attacks import declared_cuts

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src"
APPS = ROOT / "apps"
PACKAGES = ("gridsecure", "gridsecure_api", "gridsecure_dashboard")

# Budgets of the style guide: ten code bases were measured, their 90th percentile is near these.
MODULE_LINES = 500
FUNCTION_LINES = 40
# What must be longer says so in its docstring: "Length: why one piece is clearer".
JUSTIFICATION = "Length:"

# Folders that git ignores or that belong to a tool.
NOT_OURS = {
    ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache",
    ".hypothesis", "__pycache__", "_build", "build", "dist", "run", "htmlcov", "node_modules",
}  # fmt: skip
TEXT_ENDINGS = {".py", ".md", ".toml", ".txt", ".in", ".yaml", ".yml", ".cfg", ".json"}
TEXT_NAMES = {"Makefile", "run", "LICENSE", ".editorconfig", ".gitignore"}

# Test folders that mirror no package: material, and tests of all rooms or of a release.
TEST_MATERIAL = {"data", "fuzz", "peer", "scale", "supply", "traps", "vectors"}

# A wall clock or the environment, by the dotted name of the call or attribute. Monotonic clocks
# may stay: they measure how long something took and say nothing about when.
CLOCK_OR_ENVIRONMENT = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "Timestamp.now",
    "Timestamp.today", "Timestamp.utcnow", "time.time", "time.time_ns", "time.localtime",
    "time.gmtime", "time.ctime", "os.environ", "os.environb", "os.getenv", "os.path.expanduser",
    "Path.home",
}  # fmt: skip

# Split so that this file does not breach its own rules.
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
MACHINE_PATH = re.compile(
    r"(?<![\w./<-])/(?:home|Users|root|work|tmp|mnt" + r")/[\w.]|\b[A-Z]:\\\\?Users\b"
)

# Who may name a library, by path below the root.
SOLE_IMPORTERS = {
    "gmssl": {"src/gridsecure/crypto/sm2_gmssl.py"},
    "opendp": {"src/gridsecure/key_authority/vault/laplace_noise.py"},
    "random": set[str](),
}

# Who may reach the secret key: the vault, and the two programs that start it.
SECRET_KEY = "gridsecure.homomorphic.secret_key"
MAY_REACH_SECRET_KEY = (
    "gridsecure.key_authority.vault",
    "gridsecure_api.vault",
    "gridsecure_api.vault_service",
    "gridsecure.cli",
)

# The two sides of the identity authority, and what may know both: the desk of the two offices, the
# service that serves both sides, and the command that plays every party.
NAMES_ROOM = "gridsecure.identity.enrolments"
PSEUDONYMS_ROOM = "gridsecure.identity.registrations"
MAY_KNOW_BOTH = (
    "gridsecure.identity.office_desk",
    "gridsecure_api.identity",
    "gridsecure_api.identity_zone",
    "gridsecure_api.identity_enrolment",
    "gridsecure_api.identity_grants",
    "gridsecure_api.identity_people",
    "gridsecure_api.identity_registration",
    "gridsecure_api.identity_sources",
    "gridsecure_api.identity_warrants",
    "gridsecure_api.identity_warrants",
    "gridsecure.cli",
)

# What could decrypt or make keys, by its name in the homomorphic library.
DECRYPTING = {"Decryptor", "KeyGenerator", "SecretKey"}

Rule = Callable[[str], list[str]]


def files_below(folder: Path) -> Iterator[Path]:
    """Every file of ours, whether or not it is committed yet."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - NOT_OURS)
        for name in sorted(names):
            yield Path(place) / name


def python_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in files_below(folder) if path.suffix == ".py"]


def texts() -> list[Path]:
    return [
        path for path in files_below(ROOT) if path.suffix in TEXT_ENDINGS or path.name in TEXT_NAMES
    ]


def breaches(rule: Rule, paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{found}"
        for path in paths
        for found in rule(path.read_text(encoding="utf-8"))
    ]


def dotted(node: ast.AST) -> str:
    """The name `a.b.c` of an attribute chain, empty when it does not start at a plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


@cache
def tree_of(source: str) -> ast.Module:
    """A module's syntax, parsed once for all rules."""
    return ast.parse(source)


@cache
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(source)))


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, `from a import b` as `a.b`."""
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module or ''}.{alias.name}"


# --- the rules ---------------------------------------------------------------------------------


def too_long_module(source: str) -> list[str]:
    lines = source.count("\n")
    explained = JUSTIFICATION in (ast.get_docstring(tree_of(source)) or "")
    return [] if lines <= MODULE_LINES or explained else [f"1: {lines} lines"]


def too_long_functions(source: str) -> list[str]:
    if JUSTIFICATION in (ast.get_docstring(tree_of(source)) or ""):
        return []
    found = []
    for node in nodes_of(source):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        text = ast.get_docstring(node)
        if text is not None:
            if JUSTIFICATION in text:
                continue
            docstring = node.body[0]
            lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
        if lines > FUNCTION_LINES:
            found.append(f"{node.lineno}: {node.name} has {lines} lines")
    return found


def clock_or_environment(source: str) -> list[str]:
    found = []
    for node in nodes_of(source):
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            if any(name == bad or name.endswith(f".{bad}") for bad in CLOCK_OR_ENVIRONMENT):
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "time"}:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [f"{node.lineno}: {name}" for name in names & CLOCK_OR_ENVIRONMENT]
    return found


def pseudo_random_arrays(source: str) -> list[str]:
    return [
        f"{node.lineno}: {dotted(node)}"
        for node in nodes_of(source)
        if isinstance(node, ast.Attribute) and dotted(node) in {"np.random", "numpy.random"}
    ]


def unfinished(source: str) -> list[str]:
    return matches(UNFINISHED, source)


def machine_paths(source: str) -> list[str]:
    return matches(MACHINE_PATH, source)


def matches(pattern: re.Pattern[str], source: str) -> list[str]:
    return [
        f"{source.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for match in pattern.finditer(source)
    ]


def decrypting(source: str) -> list[str]:
    found = [
        f"{node.lineno}: {node.attr}"
        for node in nodes_of(source)
        if isinstance(node, ast.Attribute) and node.attr in DECRYPTING
    ]
    return found + [
        f"{line}: {name}"
        for line, name in imported(source)
        if name.split(".")[0] == "tenseal" and name.split(".")[-1] in DECRYPTING
    ]


def beyond_the_clients(source: str) -> list[str]:
    allowed = (
        "gridsecure.analyst", "gridsecure.errors", "gridsecure.offices.warrants",
        "gridsecure.offices.warrant_states", "gridsecure.statements.pdf_text", "gridsecure.wire",
        # Pure: what documents and cards say, which clients return as they are.
        "gridsecure.circulation", "gridsecure.products",
    )  # fmt: skip
    return [
        f"{line}: {name}"
        for line, name in imported(source)
        if name.split(".")[0] == "gridsecure"
        and not any(name == start or name.startswith(f"{start}.") for start in allowed)
    ]


def strings_that_stand_alone(source: str) -> list[str]:
    """Strings that are statements and no docstring: Streamlit's magic would print them."""
    docstrings = {
        id(node.body[0])
        for node in nodes_of(source)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    }
    return [
        f"{node.lineno}: {ast.unparse(node)[:40]}"
        for node in nodes_of(source)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant | ast.JoinedStr)
        and id(node) not in docstrings
    ]


def more_than_a_docstring(source: str) -> list[str]:
    tree = tree_of(source)
    rest = tree.body[1:] if ast.get_docstring(tree) else tree.body
    return [f"{node.lineno}: {type(node).__name__}" for node in rest]


def names_a_host(source: str) -> list[str]:
    return matches(re.compile(r"://|--(?:extra-)?index-url|--find-links"), source)


def unhashed(source: str) -> list[str]:
    """Locked requirements without a hash; a requirement starts at the left margin."""
    blocks = re.split(r"\n(?=\S)", source.strip())
    return [
        block.split()[0] for block in blocks if "==" not in block or "--hash=sha256:" not in block
    ]


# The command may read the clock and the environment, and what stands in its place in people's own
# programs the clock; the simulator draws repeatable meters.
APART = {"cli", "client", "simulator"}
LIBRARY = [
    path
    for path in python_below(SOURCES)
    if path.relative_to(SOURCES / "gridsecure").parts[0] not in APART
]

# --- the tree keeps them -----------------------------------------------------------------------

KEPT: dict[str, tuple[Rule, list[Path]]] = {
    "functions fit the budget": (too_long_functions, python_below(SOURCES, APPS)),
    "time and settings are arguments": (
        clock_or_environment,  # apart from what keeps the environment from workers
        [path for path in LIBRARY if path.name != "worker_environment.py"],
    ),
    "no pseudo-random numbers in the product": (pseudo_random_arrays, LIBRARY),
    "nothing is left for later": (unfinished, texts()),
    "no path of one machine": (machine_paths, texts()),
    "only the secret key's module decrypts": (
        decrypting,
        [path for path in python_below(SOURCES, APPS) if path.name != "secret_key.py"],
    ),
    "views know the clients of services only": (
        beyond_the_clients,
        python_below(APPS / "dashboard"),
    ),
    "no string of a page stands alone": (
        strings_that_stand_alone,
        python_below(APPS / "dashboard"),
    ),
    "one import path per name": (
        more_than_a_docstring,
        [path for path in python_below(SOURCES, APPS) if path.name == "__init__.py"],
    ),
    "locks name no host": (names_a_host, sorted((ROOT / "requirements").glob("*.txt"))),
    "locks are hashed": (unhashed, sorted((ROOT / "requirements").glob("*.txt"))),
}


@pytest.mark.filterwarnings("default:A long module")
def test_long_modules_are_named() -> None:
    """One thought may take more lines than most: a warning to think about, not to cut by."""
    for breach in breaches(too_long_module, python_below(SOURCES, APPS)):
        warnings.warn(f"A long module that does not say why: {breach}", stacklevel=1)


@pytest.mark.parametrize("name", KEPT)
def test_rule_is_kept(name: str) -> None:
    rule, paths = KEPT[name]
    assert paths, "the rule looked at no file at all"
    assert breaches(rule, paths) == []


BREACHES: list[tuple[Rule, str]] = [
    (too_long_module, '"""A module."""\n' + "x = 1\n" * MODULE_LINES),
    (too_long_functions, "def f():\n" + "    x = 1\n" * FUNCTION_LINES),
    (clock_or_environment, "import datetime\nwhen = datetime.datetime.now(tz)\n"),
    (clock_or_environment, "import os\nhome = os.environ['HOME']\n"),
    (clock_or_environment, "from time import time\n"),
    (clock_or_environment, "import pandas as pd\nwhen = pd.Timestamp.now()\n"),
    (pseudo_random_arrays, "import numpy as np\nx = np.random.default_rng()\n"),
    (unfinished, "x = 1  # TO" + "DO: two\n"),
    (machine_paths, "DATA = '/ho" + "me/someone/readings.csv'\n"),
    (machine_paths, "see /tm" + "p/readings.csv\n"),
    (decrypting, "import tenseal.sealapi as s\nd = s.Decryptor(context, key)\n"),
    (decrypting, "from tenseal.sealapi import KeyGenerator\n"),
    (beyond_the_clients, "from gridsecure.store import rows\n"),
    (beyond_the_clients, "import gridsecure.key_authority.vault.decryption\n"),
    (more_than_a_docstring, '"""A room."""\nfrom a import b\n'),
    (strings_that_stand_alone, 'PURPOSES = {}\n"""What for."""\n'),
    (strings_that_stand_alone, 'def f():\n    """Docs."""\n    f"{f}"\n'),
    (names_a_host, "--index-url https://example.org/simple\n"),
    (unhashed, "numpy==2.4.6\nrich==15.0.0 \\\n    --hash=sha256:00\n"),
]


@pytest.mark.parametrize(("rule", "source"), BREACHES)
def test_rule_sees_its_breach(rule: Rule, source: str) -> None:
    assert rule(source)


ALLOWED: list[tuple[Rule, str]] = [
    (
        too_long_module,
        '"""A module.\n\nLength: one table, read as a whole.\n"""\n' + "x = 1\n" * 600,
    ),
    (
        too_long_functions,
        'def f():\n    """F.\n\n    Length: one table.\n    """\n' + "    x = 1\n" * 60,
    ),
    (too_long_functions, 'def f():\n    """' + "Words.\n" * 80 + '    """\n'),
    (clock_or_environment, "import time\nstarted = time.perf_counter()\n"),
    (machine_paths, "GET /bills/home/2 and https://example.org/home/x\n"),
    (beyond_the_clients, "from gridsecure.analyst import client\nimport streamlit\n"),
    (
        strings_that_stand_alone,
        '"""A module."""\nclass A:\n    """A class."""\n    def f(self):\n        """F."""\n',
    ),
]


@pytest.mark.parametrize(("rule", "source"), ALLOWED)
def test_rule_leaves_good_code_alone(rule: Rule, source: str) -> None:
    assert rule(source) == []


# --- who knows whom ----------------------------------------------------------------------------


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_sharp_library_has_one_importer(library: str) -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in python_below(SOURCES)
        for _, name in imported(path.read_text(encoding="utf-8"))
        if name.split(".")[0] == library
    }
    assert importers <= SOLE_IMPORTERS[library]


def reaching_the_secret_key(graph: grimp.ImportGraph) -> list[str]:
    """Modules outside the authority that import the secret key, directly or through others."""
    return [
        module
        for module in sorted(graph.find_downstream_modules(SECRET_KEY))
        if not any(f"{module}.".startswith(f"{name}.") for name in MAY_REACH_SECRET_KEY)
    ]


@cache
def house() -> grimp.ImportGraph:
    """Who imports whom."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def test_secret_key_is_out_of_reach() -> None:
    """Over the whole graph, so a module is covered the day it is written.

    The linter's contracts name the rooms they guard; here every module is guarded except the few
    named, and a chain of imports through any number of modules counts.
    """
    assert reaching_the_secret_key(house()) == []


def test_secret_key_is_seen_through_a_chain() -> None:
    graph = grimp.ImportGraph()
    for module in (
        "gridsecure.compute.jobs",
        "gridsecure.key_authority.vault.decryption",
        SECRET_KEY,
    ):
        graph.add_module(module)
    graph.add_import(importer="gridsecure.key_authority.vault.decryption", imported=SECRET_KEY)
    assert reaching_the_secret_key(graph) == []
    graph.add_import(
        importer="gridsecure.compute.jobs", imported="gridsecure.key_authority.vault.decryption"
    )
    assert reaching_the_secret_key(graph) == ["gridsecure.compute.jobs"]


def knowing_names_and_pseudonyms(graph: grimp.ImportGraph) -> list[str]:
    """Modules that reach both sides of identity, directly or through others."""
    names, pseudonyms = (
        {room} | graph.find_descendants(room) for room in (NAMES_ROOM, PSEUDONYMS_ROOM)
    )
    reaching = [
        set(side).union(*(graph.find_downstream_modules(module) for module in side))
        for side in (names, pseudonyms)
    ]
    return [
        module
        for module in sorted(reaching[0] & reaching[1])
        if not any(f"{module}.".startswith(f"{name}.") for name in MAY_KNOW_BOTH)
    ]


def test_names_and_pseudonyms_are_apart() -> None:
    """Over the whole graph: one module of the library knows both sides, and it is named."""
    assert knowing_names_and_pseudonyms(house()) == []


def test_a_name_beside_a_pseudonym_is_seen_through_a_chain() -> None:
    graph = grimp.ImportGraph()
    books, registry = f"{NAMES_ROOM}.books", f"{PSEUDONYMS_ROOM}.registry"
    between, far = "gridsecure.identity.access_tokens", "gridsecure.gateway.months"
    for module in (NAMES_ROOM, PSEUDONYMS_ROOM, books, registry, between, far, MAY_KNOW_BOTH[0]):
        graph.add_module(module)
    graph.add_import(importer=MAY_KNOW_BOTH[0], imported=books)
    graph.add_import(importer=MAY_KNOW_BOTH[0], imported=registry)
    graph.add_import(importer=far, imported=books)
    assert knowing_names_and_pseudonyms(graph) == []
    graph.add_import(importer=far, imported=between)
    graph.add_import(importer=between, imported=registry)
    assert knowing_names_and_pseudonyms(graph) == [far]
    graph.add_import(importer=registry, imported=books)
    assert knowing_names_and_pseudonyms(graph) == sorted([between, far, registry])


def test_rules_are_where_attacks_cut_them_out() -> None:
    """Move a rule, and say in its attack (`make attack`) where it stands now."""
    cuts = list(declared_cuts(ROOT / "tests"))
    assert len(cuts) > 40
    for one in cuts:
        one.check()


def test_documented_tariff_is_a_tariff() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert parse_tariff(example).tou_periods == ("valley", "peak")


def test_tests_mirror_the_house() -> None:
    rooms = {
        path.name for path in (SOURCES / "gridsecure").iterdir() if (path / "__init__.py").exists()
    }
    inhabited = {
        room
        for room in rooms
        if any(path.name != "__init__.py" for path in python_below(SOURCES / "gridsecure" / room))
    }
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - NOT_OURS
    tested = {name for name in folders if any((ROOT / "tests" / name).rglob("test_*.py"))}
    assert inhabited - tested == set()
    assert folders - TEST_MATERIAL - rooms - {"apps", "benchmarks", "browser", "deploy"} == set()


# The page of reason codes is made of the code when the documentation is built.
WRITTEN = [page for page in (ROOT / "docs").glob("*.md") if page.name != "reasons.md"]
PAGES = [*WRITTEN, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def named_paths(text: str) -> list[str]:
    """Modules that a page names, as paths."""
    return re.findall(r"`((?:\w+/)+\w+\.py)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_a_page_names_exist(page: Path) -> None:
    named = named_paths(page.read_text(encoding="utf-8"))
    places = (ROOT, SOURCES / "gridsecure")
    assert [one for one in named if not any((place / one).is_file() for place in places)] == []


def test_tour_follows_a_reading_through_few_modules() -> None:
    text = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    walk = text.split("## One reading through the code")[1].split("\n## ")[0]
    named = named_paths(walk)
    assert 20 <= len(named) == len(set(named)) <= 25


def test_architecture_shows_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text.split("## Repository layout")[1].split("```")[1]
    rooms = {path.parent.name for path in (SOURCES / "gridsecure").glob("*/**/__init__.py")} | {
        path.parent.name for path in APPS.glob("*/*/__init__.py")
    }
    shown = set(re.findall(r"(\w+)/ ", tree))
    assert rooms - shown == set()
    assert shown - rooms - {"apps", "benchmarks"} == set()


def test_nomenclature_names_rooms_that_are_there() -> None:
    text = (ROOT / "docs" / "nomenclature.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    for row in rows:
        for room in re.findall(r"[\w/]+", row[3].replace("everywhere", "")):
            place = SOURCES / "gridsecure" / room
            assert place.is_dir() or place.with_suffix(".py").is_file(), row


def test_decisions_have_numbers_of_their_own() -> None:
    """Two that were written side by side once shared one."""
    names = sorted(path.name for path in (ROOT / "docs" / "adr").glob("0*.md"))
    for name in names:
        number = name.partition("-")[0]
        title = (ROOT / "docs" / "adr" / name).read_text(encoding="utf-8").partition("\n")[0]
        assert title.startswith(f"# {int(number)}. "), name
    numbers = [name.partition("-")[0] for name in names]
    assert len(numbers) == len(set(numbers)) > 60
