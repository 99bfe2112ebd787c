"""A parser of what crosses a trust line, with inputs that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from gridsecure.errors import GridSecureError
from tests.fuzz.mutations import mutate


@dataclass(frozen=True)
class Parser:
    """Reads bytes of a stranger: gives a value, or refuses them by one of our errors.

    Args:
        name: Of the parser, as a finding names it.
        read: Takes bytes; text is decoded, signed or sealed by it, so that what is changed is not
            refused for its signature alone.
        make_samples: Inputs that `read` takes, made when they are first wanted.
        refuses: The errors that it may raise beside ours, as its docstring says.
    """

    name: str
    read: Callable[[bytes], object]
    make_samples: Callable[[], Sequence[bytes]]
    refuses: tuple[type[Exception], ...] = ()

    @cached_property
    def samples(self) -> Sequence[bytes]:
        """Valid inputs."""
        return self.make_samples()

    def draw(self, chance: Random) -> bytes:
        """An input: mostly a changed sample, sometimes nothing but chance."""
        if chance.random() < 0.03:
            return chance.randbytes(chance.choice((0, 1, 7, 64, 1000)))
        return mutate(chance.choice(self.samples), self.samples, chance)

    def try_input(self, data: bytes) -> None:
        """Read an input.

        Raises:
            AssertionError: It was refused without a reason code or a message.
            Exception: Whatever else the parser let through, which is a finding.
        """
        try:
            self.read(data)
        except GridSecureError as refused:
            if not (refused.reason and refused.message):
                raise AssertionError("refused without a reason code or a message") from refused
        except self.refuses:
            return


def text_of(data: bytes) -> str:
    """Bytes as the text that a caller hands over, who decodes them strictly before."""
    return data.decode(errors="replace")
