"""What a service says of its own software, and what it wants of whoever logs in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

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
from gridsecure_api.settings import BuildSettings, public_key

_measured = cache(measure_build)


@dataclass(frozen=True, slots=True)
class OwnBuild:
    """The build that runs here.

    Args:
        measured: Of the files and libraries of this process.
        statement: The maker's, if there is one.
        maker: The key that peers' statements have to be signed with; None where none is pinned.
    """

    measured: BuildStatement
    statement: Signed | None
    maker: Sm2PublicKey | None

    @property
    def shown(self) -> str:
        """The statement as logins show it."""
        return self.statement.model_dump_json() if self.statement else ""

    def check_caller(self, statement: str, *, whose: str) -> None:
        """Refuse a service that shows no statement of the maker, where one is pinned.

        Raises:
            AuthenticityError: It shows none (`build.unstated`), or one that the maker did not sign
                (`build.signature`).
            InvalidMessageError: It shows something else.
        """
        if self.maker is None:
            return
        if not statement:
            raise unstated(whose)
        open_statement(Signed.parse(statement), maker=self.maker)


def open_build(settings: BuildSettings, *, whose: str) -> OwnBuild:
    """Measure this build, and hold it to the maker's statement if a maker is pinned.

    Args:
        whose: A name for the message, as "the platform".

    Raises:
        StorageError: The statement cannot be read (`build.file`).
        AuthenticityError: There is none where a maker is pinned (`build.unstated`), the maker did
            not sign it (`build.signature`), or another build runs (`build.changed`).
        InvalidMessageError: It is no statement.
    """
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
        return OwnBuild(measured, statement, None)
    maker = public_key(settings.maker_public_key)
    if statement is None:
        raise unstated(whose)
    check_build(open_statement(statement, maker=maker), measured, whose=whose)
    return OwnBuild(measured, statement, maker)
