"""What the objects of a program's client have in common: they are closed when their block ends."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Self, TypeVar


class Closing(ABC):
    """Closed when its block ends."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


OwnT = TypeVar("OwnT", bound=Closing)


class InCoroutines(Generic[OwnT]):
    """The same object in coroutines: each of its calls waits in a thread of its own.

    Args:
        own: Closed with this object.
    """

    def __init__(self, own: OwnT) -> None:
        self._own = own

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._own.close)
