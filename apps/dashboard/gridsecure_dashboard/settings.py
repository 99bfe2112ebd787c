"""The dashboard's settings, from environment variables named GRIDSECURE_DASHBOARD_…."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gridsecure.errors import InputError

PREFIX = "GRIDSECURE_DASHBOARD_"


class DashboardSettings(BaseSettings):
    """Where the services are, and the one key whose releases are shown.

    Args:
        identity_url: Base address of the identity service.
        authority_url: Base address of the key authority.
        platform_url: Base address of the compute platform.
        gateway_url: Base address of the gateway.
        market_url: Base address of the data market; empty where there is none.
        encryption_url: Base address of the encryption service; empty where there is none.
        authority_key: The authority's SM2 public key, 130 hexadecimal digits.
        tls_ca: Authorities that the services are believed by (PEM); without, the world's.
        timezone: IANA name of the local time that billing months are counted in.
        cycle_day: Day of the month that the gateway's billing periods begin on.
        timeout_seconds: How long a service may take to answer [s]; a release round repeats the
            whole computation before it answers, hence the long default.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    identity_url: str
    authority_url: str
    platform_url: str
    gateway_url: str
    market_url: str = ""
    encryption_url: str = ""
    authority_key: str
    tls_ca: Path | None = None
    timezone: str = "Asia/Shanghai"
    cycle_day: int = Field(default=1, ge=1, le=28)
    timeout_seconds: float = 600.0


def load_settings() -> DashboardSettings:
    """The settings, read anew only when a variable has another value: pages ask many times.

    Raises:
        InputError: One is missing or malformed (`settings.missing`); the message names variables.
    """
    own = {name: text for name, text in os.environ.items() if name.upper().startswith(PREFIX)}
    return _read(frozenset(own.items()))


@lru_cache(maxsize=4)
def _read(_variables: frozenset[tuple[str, str]]) -> DashboardSettings:
    try:
        return DashboardSettings()
    except ValidationError as error:
        names = sorted({f"{PREFIX}{item['loc'][0]}".upper() for item in error.errors()})
        raise InputError(
            f"The dashboard is not set up: {', '.join(names)}.",
            reason="settings.missing",
            remedy="Set these variables, or start everything with `gridsecure run`.",
        ) from error
