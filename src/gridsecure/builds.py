"""What software runs here, as its own report: digests that a release key signed.

A service measures itself at its start: every file of the product's packages, the libraries that
they need with their versions, and the parameter sets of the homomorphic schemes. The maker signs
the same measurement of what is released. Who pins the maker's key can tell a changed build from a
released one, and by name what differs.

This is software's word and no hardware quote. It finds a machine that was given another release, a
file that was edited and a library that was updated alone. Whoever controls a machine can run other
code and report the digests of this one. Compiled files (`__pycache__`) are not measured: an
interpreter believes one whose time fits, so whoever may write there is such a one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, GridSecureError
from gridsecure.homomorphic.parameters import PARAMETER_SETS
from gridsecure.messages import Digest, Message, Signed, open_message
from gridsecure.version import VERSION

PACKAGES: Final = ("gridsecure", "gridsecure_api", "gridsecure_dashboard")
PRODUCT: Final = "gridsecure"
_NOT_SOURCE: Final = "__pycache__"


class BuildStatement(Message):
    """What a build is made of.

    Args:
        source: Of all files of the packages, by path.
        dependencies: Of the names and versions of the libraries that they need.
        parameters: Of the parameter sets of the homomorphic schemes.
    """

    kind: ClassVar[str] = "build"
    version: str
    source: Digest
    dependencies: Digest
    parameters: Digest

    @property
    def parts(self) -> Mapping[str, str]:
        """What is compared, by the name that a refusal gives it."""
        return {
            "version": self.version,
            "source": self.source,
            "dependencies": self.dependencies,
            "parameters": self.parameters,
        }

    def differing(self, other: BuildStatement) -> list[str]:
        """The names of the parts that another build has otherwise."""
        return [name for name, part in self.parts.items() if other.parts[name] != part]


def measure_build() -> BuildStatement:
    """Measure what is installed here.

    Raises:
        GridSecureError: A file or a library cannot be read (`build.unreadable`).
    """
    try:
        source = _source(PACKAGES)
        libraries = _needed(PRODUCT)
    except (OSError, PackageNotFoundError) as error:
        raise _unreadable() from error
    return BuildStatement(
        version=VERSION,
        source=source,
        dependencies=_digest(sorted(libraries.items())),
        parameters=_digest((name, str(PARAMETER_SETS[name])) for name in sorted(PARAMETER_SETS)),
    )


@cache
def source_digest() -> Digest:
    """What this process computes by: of all files of the product's own package, by path.

    Of those that were there when it was asked for first, which is when a service starts.

    Raises:
        GridSecureError: A file cannot be read (`build.unreadable`).
    """
    try:
        return _source((PRODUCT,))
    except OSError as error:
        raise _unreadable() from error


def _source(packages: Iterable[str]) -> Digest:
    files = {name: sm3_hex(path.read_bytes()) for name, path in sorted(_files(packages))}
    return _digest(files.items())


def _unreadable() -> GridSecureError:
    return GridSecureError(
        "The software cannot measure itself: a file or library of it is missing, or is a link.",
        reason="build.unreadable",
        remedy="Install the release again.",
    )


def _files(packages: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Every file of some packages, and what it is called wherever they are installed."""
    for package in packages:
        spec = find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise FileNotFoundError(package)
        for place in map(Path, spec.submodule_search_locations):
            for path in place.rglob("*"):
                name = path.relative_to(place)
                if path.is_symlink():  # what it leads to would run, and not be measured
                    raise FileExistsError(name)
                if path.is_file() and _NOT_SOURCE not in name.parts:
                    yield f"{package}/{name.as_posix()}", path


def _needed(product: str) -> dict[str, str]:
    """The libraries that a product needs, and those that they need: name -> version."""
    found: dict[str, str] = {}
    asked: list[tuple[str, frozenset[str]]] = [(product, frozenset())]
    seen = set(asked)
    while asked:
        name, extras = asked.pop()
        of = distribution(name)
        if name != product:
            found[name] = of.version
        for text in of.requires or ():
            one = Requirement(text)
            if one.marker and not any(
                one.marker.evaluate({"extra": extra}) for extra in extras | {""}
            ):
                continue
            wanted = (canonicalize_name(one.name), frozenset(one.extras))
            if wanted not in seen:
                seen.add(wanted)
                asked.append(wanted)
    return found


def _digest(lines: Iterable[tuple[str, str]]) -> Digest:
    return sm3_hex("".join(f"{name} {value}\n" for name, value in lines).encode())


def open_statement(envelope: Signed, *, maker: Sm2PublicKey) -> BuildStatement:
    """Read the maker's statement.

    Raises:
        AuthenticityError: The maker did not sign it (`build.signature`).
        InvalidMessageError: It is another message.
    """
    try:
        return open_message(envelope, expect=BuildStatement, trusted={maker.thumbprint: maker})
    except AuthenticityError as error:
        raise AuthenticityError(
            "The statement of a build is not signed by the maker whose key is pinned.",
            reason="build.signature",
            remedy="Take the statement that came with the release, or compare the pinned key with "
            "the maker's.",
        ) from error


def check_build(stated: BuildStatement, measured: BuildStatement, *, whose: str) -> None:
    """Refuse a build that is another than the one that was stated.

    Args:
        stated: From `open_statement`.
        whose: A name for the message, as "the platform".

    Raises:
        AuthenticityError: It is (`build.changed`).
    """
    differing = stated.differing(measured)
    if differing:
        raise AuthenticityError(
            f"The software of {whose} is not the released build: {', '.join(differing)} differ.",
            reason="build.changed",
            remedy="Install the release whose statement is pinned, with the libraries of its lock, "
            "or have the maker sign the build that runs.",
        )


def unstated(whose: str) -> AuthenticityError:
    """That nobody stated anything of a build.

    Args:
        whose: A name for the message, as "the platform".
    """
    return AuthenticityError(
        f"There is no statement of the maker about the software of {whose}.",
        reason="build.unstated",
        remedy="Name the statement that came with the release in its setting BUILD_STATEMENT, or "
        "have the maker sign the build that runs (`gridsecure build sign`).",
    )
