"""Signed notes (c2sp.org/signed-note): a text, an empty line, and a line for each signature.

    — name base64(key id ‖ signature)

Three types of signature are known here:

    0x01                          Ed25519 over the text
    0x04                          a witness's Ed25519 cosignature (c2sp.org/tlog-cosignature)
    0xff "gridsecure.sm2/v1"      SM2 with SM3 over "gridsecure.sm2/v1", a newline and the text

The last one is a type of our own, as the specification gives it to types without a byte. A verifier
that does not know it ignores the line, as it has to. The header keeps a signed note from being
taken for another message under the same SM2 key.

A note is believed only if a key that was given verifies it; a line of such a key that does not
verify spoils the whole note. Lines of other keys say nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from gridsecure.crypto import ed25519
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.errors import InvalidMessageError, SignatureError

Kind = Literal["ed25519", "cosignature", "sm2"]

_SM2_NAME: Final = b"gridsecure.sm2/v1"
_TYPES: Final[dict[Kind, bytes]] = {
    "ed25519": b"\x01",
    "cosignature": b"\x04",
    "sm2": b"\xff" + _SM2_NAME,
}
_KEY_BYTES: Final[dict[Kind, int]] = {"ed25519": 32, "cosignature": 32, "sm2": 65}

MAX_NOTE_BYTES: Final = 1 << 16
"""Longest note that is read [bytes]; a hundred post-quantum lines would be longer."""

_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_MAX_TIME: Final = (1 << 63) - 1
_KEY_PARTS: Final = 3
_NAME: Final = re.compile(r"[^\s+]+")
_LINE: Final = re.compile(r"— ([^\s+]+) (\S+)")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line of a note.

    Args:
        key_id: Four bytes that find the key of this name.
    """

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A note as read; its text means nothing before `verify_note`.

    Args:
        text: With its last newline.
    """

    text: str
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key that verifies lines of one name and type.

    Raises:
        InvalidMessageError: A name or key that cannot be one (`log.key`).
    """

    name: str
    kind: Kind
    public_key: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public_key) != _KEY_BYTES[self.kind]:
            raise _no_key()

    @property
    def key_id(self) -> bytes:
        """Four bytes that find the key of this name."""
        return sha256(self.name.encode() + b"\n" + self._material).digest()[:_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as people exchange it: name, key id, type and public key."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material).decode()}"

    @property
    def _material(self) -> bytes:
        return _TYPES[self.kind] + self.public_key

    def check(self, text: str, signature: bytes) -> None:
        """Return if a signature over a text is this key's.

        Raises:
            SignatureError: It is not.
        """
        if self.kind == "sm2":
            Sm2PublicKey(self.public_key).verify(sm2_signed(text), signature)
            return
        message = text.encode()
        if self.kind == "cosignature":
            message, signature = _cosigned(message, signature)
        ed25519.verify(self.public_key, message, signature=signature)


def read_key(text: str) -> NoteKey:
    """A public key from its text.

    Raises:
        InvalidMessageError: It is none, or of a type that is not known here (`log.key`).
    """
    parts = text.strip().split("+", _KEY_PARTS - 1)
    if len(parts) != _KEY_PARTS:
        raise _no_key()
    try:
        material = base64.b64decode(parts[2], validate=True)
    except ValueError as error:
        raise _no_key() from error
    for kind, prefix in _TYPES.items():
        if material.startswith(prefix) and len(material) == len(prefix) + _KEY_BYTES[kind]:
            key = NoteKey(parts[0], kind, material[len(prefix) :])
            if key.key_id.hex() == parts[1]:
                return key
    raise _no_key()


def read_note(data: bytes) -> Note:
    """Read a note; nothing of it is verified.

    Raises:
        InvalidMessageError: It is none (`log.note`).
    """
    if len(data) > MAX_NOTE_BYTES:
        raise _no_note()
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise _no_note() from error
    text, gap, lines = whole.rpartition("\n\n")
    if not gap or not lines.endswith("\n") or _CONTROL.search(whole):
        raise _no_note()
    return Note(text + "\n", tuple(_read_line(line) for line in lines[:-1].split("\n")))


def _read_line(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _no_note()
    try:
        data = base64.b64decode(match[2], validate=True)
    except ValueError as error:
        raise _no_note() from error
    if len(data) <= _ID_BYTES:
        raise _no_note()
    return NoteSignature(match[1], data[:_ID_BYTES], data[_ID_BYTES:])


def write_note(text: str, signatures: Sequence[NoteSignature]) -> bytes:
    """A note as it travels.

    Args:
        text: With its last newline.
    """
    lines = [
        f"— {one.name} {base64.b64encode(one.key_id + one.signature).decode()}\n"
        for one in signatures
    ]
    return f"{text}\n{''.join(lines)}".encode()


def verify_note(note: Note, keys: Sequence[NoteKey]) -> tuple[NoteKey, ...]:
    """The keys that signed a note.

    Args:
        keys: Those that are trusted.

    Raises:
        SignatureError: A line of one of them does not verify, or none of them signed it
            (`log.signature`).
    """
    known = {(key.name, key.key_id): key for key in keys}
    signed: list[NoteKey] = []
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        try:
            key.check(note.text, line.signature)
        except SignatureError as error:
            raise _forged() from error
        signed.append(key)
    if not signed:
        raise _forged()
    return tuple(dict.fromkeys(signed))


def sm2_signed(text: str) -> bytes:
    """What an SM2 line signs."""
    return _SM2_NAME + b"\n" + text.encode()


def cosign(note: Note, *, name: str, seed: bytes, at: int) -> NoteSignature:
    """A witness's line for a checkpoint whose consistency it verified.

    Args:
        name: The witness's.
        seed: Its Ed25519 key, used for nothing else.
        at: POSIX time [s].
    """
    key = NoteKey(name, "cosignature", ed25519.public_key_of(seed))
    signature = ed25519.sign(seed, _cosignature_text(note.text.encode(), at))
    return NoteSignature(name, key.key_id, at.to_bytes(_TIME_BYTES, "big") + signature)


def _cosigned(message: bytes, signature: bytes) -> tuple[bytes, bytes]:
    at = int.from_bytes(signature[:_TIME_BYTES], "big")
    if len(signature) != _TIME_BYTES + ed25519.SIGNATURE_BYTES or at > _MAX_TIME:
        raise SignatureError("A cosignature has another form.")
    return _cosignature_text(message, at), signature[_TIME_BYTES:]


def _cosignature_text(message: bytes, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n".encode() + message


def _no_key() -> InvalidMessageError:
    return InvalidMessageError(
        "This is not the public key of a log or witness.",
        reason="log.key",
        remedy="Give it as its owner publishes it: name+key id+base64 (`gridsecure log keys`).",
    )


def _no_note() -> InvalidMessageError:
    return InvalidMessageError(
        "This is not a signed note.",
        reason="log.note",
        remedy="Fetch it again, byte for byte; an editor may have changed its lines.",
    )


def _forged() -> SignatureError:
    return SignatureError(
        "The checkpoint is not signed by a key that is trusted for this log.",
        reason="log.signature",
        remedy="Believe nothing of it. Compare the keys with those that the log's owner publishes.",
    )
