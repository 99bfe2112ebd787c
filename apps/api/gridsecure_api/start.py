"""From the environment to a running service: settings read, or refused by a reason code.

A refusal names variables and never repeats what they hold: a database's URL may have a password in
it. Settings that may hold one (those that do not show in `repr`) can be kept in a file, which
`GRIDSECURE_<ZONE>_<NAME>_FILE` names, readable by its owner alone; `systemd` puts one there with
`LoadCredential=`, below `$CREDENTIALS_DIRECTORY`. It is root's then, and the service's user may
read it by an entry of its own in the file's list of access, which shows as the group's bits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings
from pydantic_settings.exceptions import SettingsError

from gridsecure.errors import GridSecureError, InputError
from gridsecure.garbage import settle_objects

if TYPE_CHECKING:
    from fastapi import FastAPI  # which the vault does not load

SettingsT = TypeVar("SettingsT", bound=BaseSettings)

FILE: Final = "_FILE"
"""What the name of a variable ends with that names a file with a setting's value in it."""
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
_OTHERS: Final = 0o077
_CREDENTIAL_OTHERS: Final = 0o037
_PAGE: Final = "docs/settings.md lists a service's variables."


def prefix_of(kind: type[BaseSettings]) -> str:
    """What the names of a service's variables begin with."""
    return kind.model_config.get("env_prefix", "")


def secret_names(kind: type[BaseSettings]) -> list[str]:
    """The settings that may hold a secret, as fields are called."""
    return [name for name, field in kind.model_fields.items() if not field.repr]


def read_settings(kind: type[SettingsT]) -> SettingsT:
    """A service's settings, from this process's environment.

    Raises:
        InputError: One is missing (`settings.missing`), has another form (`settings.value`), is
            there twice (`settings.twice`), has a name that no setting has (`settings.unknown`), or
            the file with a secret cannot be read or may be read by others
            (`settings.secret-file`).
    """
    prefix = prefix_of(kind)
    files = {name: f"{prefix}{name.upper()}{FILE}" for name in secret_names(kind)}
    known = {f"{prefix}{name.upper()}" for name in kind.model_fields} | {*files.values()}
    unknown = sorted(name for name in os.environ if name.startswith(prefix) and name not in known)
    if unknown:
        raise InputError(
            f"There are no such settings: {', '.join(unknown)}.",
            reason="settings.unknown",
            remedy=f"Correct the names, or take them out. {_PAGE}",
        )
    secrets: dict[str, Any] = {
        name: _read_secret(file) for name, file in files.items() if os.environ.get(file)
    }
    try:
        return kind(**secrets)
    except (ValidationError, SettingsError) as error:
        refused = _refused(error, prefix)
    raise refused  # outside the handler: what pydantic says repeats values


def start_app(create: Callable[[SettingsT], FastAPI], kind: type[SettingsT]) -> FastAPI:
    """A service as the environment describes it, for `uvicorn --factory`.

    A refusal ends the process with its reason code, what happened and what to do, and no traceback.
    """
    try:
        app = create(read_settings(kind))
    except GridSecureError as error:
        sys.exit(str(error))
    settle_objects()
    return app


def _read_secret(variable: str) -> str:
    """What is in the file that a variable names, without the end of its line."""
    if os.environ.get(variable.removesuffix(FILE)):
        raise InputError(
            f"Both {variable.removesuffix(FILE)} and {variable} are set.",
            reason="settings.twice",
            remedy="Keep the one with the file.",
        )
    path = Path(os.environ[variable])
    try:
        others = _CREDENTIAL_OTHERS if _is_credential(path) else _OTHERS
        if path.stat().st_mode & others:
            raise _refused_file(variable, "Other users of this machine may read it.")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "It is no text"
        refused = _refused_file(variable, f"{why}.")
    raise refused


def _is_credential(path: Path) -> bool:
    """Whether systemd handed a file out to this service, and to nobody else."""
    folder = os.environ.get(CREDENTIALS, "")
    return folder != "" and path.resolve().is_relative_to(Path(folder).resolve())


def _refused_file(variable: str, why: str) -> InputError:
    return InputError(
        f"The file that {variable} names cannot be used. {why}",
        reason="settings.secret-file",
        remedy="Keep the file at mode 0600, owned by the service's user.",
    )


def _refused(error: ValidationError | SettingsError, prefix: str) -> InputError:
    """What is wrong with which variables, without what they hold."""
    if isinstance(error, SettingsError):  # names the field, in quotes, and a value nowhere
        field = str(error).partition('"')[2].partition('"')[0]
        return InputError(
            f"{prefix}{field.upper()} is not the JSON that it should be.",
            reason="settings.value",
            remedy=f"Write lists and tables as JSON. {_PAGE}",
        )
    missing, wrong = set(), set()
    for item in error.errors(include_input=False, include_context=False, include_url=False):
        name = f"{prefix}{item['loc'][0] if item['loc'] else ''}".upper()
        if item["type"] == "missing" and len(item["loc"]) == 1:  # else something in its list is
            missing.add(name)
        else:
            wrong.add(name)
    if missing:
        return InputError(
            f"These settings are missing: {', '.join(sorted(missing))}.",
            reason="settings.missing",
            remedy=f"Set them; `gridsecure join` writes those of neighbours. {_PAGE}",
        )
    return InputError(
        f"These settings have another form than they should: {', '.join(sorted(wrong))}.",
        reason="settings.value",
        remedy=f"Correct them. {_PAGE}",
    )
