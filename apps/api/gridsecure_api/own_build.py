"""What a service says of its own software and its security level, and wants of whoever logs in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from gridsecure.builds import (
    BuildStatement,
    check_build,
    measure_build,
    open_statement,
    unstated,
)
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import StorageError
from gridsecure.messages import Signed
from gridsecure.wire.services import LevelStated
from gridsecure.wire.stated_levels import check_level
from gridsecure_api.settings import BuildSettings, public_key

if TYPE_CHECKING:
    from gridsecure.policy.levels import Level

_measured = cache(measure_build)


@dataclass(frozen=True, slots=True)
class OwnBuild:
    """The build that runs here.

    Args:
        measured: Of the files and libraries of this process.
        statement: The maker's, if there is one.
        maker: The key that peers' statements have to be signed with; None where none is pinned.
        level: What this service and its peers are held to; None where there is no level.
    """

    measured: BuildStatement
    statement: Signed | None
    maker: Sm2PublicKey | None
    level: Level | None = None

    @property
    def stated_level(self) -> LevelStated | None:
        """The level as `/about` has it."""
        level = self.level
        return None if level is None else LevelStated(name=level.name, digest=level.digest)

    @property
    def shows(self) -> tuple[str, str]:
        """The statement and the level's digest, as logins show them; empty where there is none."""
        statement = self.statement.model_dump_json() if self.statement else ""
        return statement, self.level.digest if self.level else ""

    def check_caller(self, statement: str, *, level: str, whose: str) -> None:
        """Refuse a service of another security level, or without a statement of a pinned maker.

        Args:
            level: The digest that it shows.

        Raises:
            AuthenticityError: It has another level than this service (`level.differs`), shows no
                statement (`build.unstated`), or one that the maker did not sign
                (`build.signature`).
            InvalidMessageError: It shows something else.
        """
        check_level(level, own=self.level, whose=whose)
        if self.maker is None:
            return
        if not statement:
            raise unstated(whose)
        open_statement(Signed.parse(statement), maker=self.maker)


def _open_level(settings: BuildSettings, *, whose: str) -> Level | None:
    """The security level, where there is one: reading it loads policies and plans."""
    if not settings.level:
        return None
    levels = import_module("gridsecure.policy.levels")
    level: Level = levels.open_level(settings.level)
    is_pinned = settings.maker_public_key is not None
    found = levels.find_attestation_shortfalls(level, is_pinned=is_pinned)
    levels.refuse_shortfalls(level, found, whose=whose)
    return level


def open_build(settings: BuildSettings, *, whose: str) -> OwnBuild:
    """Measure this build, and hold it to the maker's statement if a maker is pinned.

    And read the security level, which may want one to be pinned.

    Args:
        whose: A name for the message, as "the platform".

    Raises:
        InputError: The level is none, as `open_level`, or wants a maker's key and none is pinned
            (`level.below`).
        StorageError: The statement cannot be read (`build.file`).
        AuthenticityError: There is none where a maker is pinned (`build.unstated`), the maker did
            not sign it (`build.signature`), or another build runs (`build.changed`).
        InvalidMessageError: It is no statement.
    """
    level = _open_level(settings, whose=whose)
    measured, path = _measured(), settings.build_statement
    statement = None
    if path is not None:
        try:
            statement = Signed.parse(path.read_bytes())
        except OSError as error:
            raise StorageError(
                f"The statement of the build, {path.name}, cannot be read.",
                reason="build.file",
                remedy="Check the setting BUILD_STATEMENT and the file's permissions.",
            ) from error
    if settings.maker_public_key is None:
        return OwnBuild(measured, statement, None, level)
    maker = public_key(settings.maker_public_key)
    if statement is None:
        raise unstated(whose)
    check_build(open_statement(statement, maker=maker), measured, whose=whose)
    return OwnBuild(measured, statement, maker, level)
