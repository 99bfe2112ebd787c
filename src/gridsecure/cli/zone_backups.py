"""A zone's backup: one new folder, whole or not there, with a manifest that the zone signed.

    backup.json            the manifest: files with their digests, heads of logs, what is left out
    databases/             a copy of each database, consistent in itself
    files/                 the zone's folder without databases and keys; objects, if they are there
    sealed-keys            the zone's keys, sealed to a recovery key; not there without one

Files are copied first, then databases, then files that came meanwhile: so whatever a database
names is there. Keys are never in it in the open. Restoring goes into a folder that is empty or not
there, and ends with the log of each database held to the manifest and to what witnesses saw.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from gridsecure.cli.backup_databases import (
    SQLITE,
    check_copy,
    copy_database,
    put_back,
    read_state,
    take_out,
)
from gridsecure.cli.zone_making import CARD_KEY, database_urls, key_files, log_of
from gridsecure.cli.zone_setup import FACTS, SETUP, SHARES, ZoneFacts, read_facts
from gridsecure.crypto.envelope import open_from, seal_to
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.crypto.sm3 import Sm3
from gridsecure.errors import (
    AuditBrokenError,
    ConflictError,
    GridSecureError,
    InputError,
    SignatureError,
    StorageError,
)
from gridsecure.messages import Message, Signed, open_message, sign_message
from gridsecure.store.database import open_database, read_session
from gridsecure.store.kept_heads import check_shown
from gridsecure.store.log_tree import verify_log
from gridsecure.transparency.checkpoints import Checkpoint, open_checkpoint, read_checkpoint
from gridsecure.transparency.notes import NoteKey
from gridsecure.version import VERSION
from gridsecure.whole_files import DRAFT, create_file, replace_file, sync_folder
from gridsecure.zone_keys import load_log_signer, load_signing_key, read_private_key

MANIFEST: Final = "backup.json"
DATABASES: Final = "databases"
FILES: Final = "files"
KEYS: Final = "sealed-keys"
HEAD: Final = ".head"
_PURPOSE: Final = "zone-backup-keys"
_PORTION: Final = 1 << 20
_PEM_HEAD: Final = 64
_BESIDE_DATABASES: Final = ("-wal", "-shm", "-journal")
_MADE_ANEW: Final = (".env", ".service")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class BackupFile(_Part):
    """A file of a backup: its path there, its bytes and their SM3 digest."""

    path: str
    size: int = Field(ge=0)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")


class BackupDatabase(_Part):
    """A database of a backup: its tables' revision, and the log's tree that it has at the least."""

    name: str
    file: str
    revision: str
    size: int = Field(ge=0)
    root: str = Field(pattern=r"^[0-9a-f]{64}$")


class BackupManifest(Message):
    """What a backup holds.

    Args:
        made_at: When, ISO 8601.
        version: The release that made it.
        public_key: The zone's, which signed this.
        sealed_to: Thumbprint of the recovery key; empty without keys.
        left_out: What a restored zone needs besides, in words.
    """

    kind: ClassVar[str] = "zone-backup"
    zone: str
    name: str
    made_at: str
    version: str
    public_key: str = Field(pattern=r"^04[0-9a-f]{128}$")
    databases: tuple[BackupDatabase, ...]
    files: tuple[BackupFile, ...]
    sealed_to: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreOrder:
    """What a backup is put back with.

    Args:
        recovery: The key that its keys were sealed to.
        keys: A folder with the zone's keys, where the backup has none.
        witnessed: Checkpoints of its log that others have.
        own: Settings of the operator's that are others than they were.
    """

    recovery: Sm2PrivateKey | None
    keys: Path | None
    witnessed: Sequence[Path]
    own: Mapping[str, str]


def make_backup(
    folder: Path, output: Path, *, recovery: Sm2PublicKey | None, now: datetime
) -> BackupManifest:
    """Copy a zone while it runs.

    Raises:
        NotFoundError: There is no zone (`setup.none`).
        ConflictError: There is something where the backup is to be (`backup.there`).
        StorageError: A database or the disk refuses; there is no backup then.
        InputError: A program is missing (`backup.program`), or the zone has no key to sign with
            (`backup.nothing`).
    """
    facts = read_facts(folder)
    key = _signing_key(folder, facts)
    with _told_of_disk(), _draft_of(output) as draft:
        (draft / DATABASES).mkdir(mode=0o700)
        (draft / FILES).mkdir(mode=0o700)
        _copy_files(folder, draft / FILES, is_wanted=lambda _path: True)
        databases = [
            _copy_one(name, url, draft / DATABASES)
            for name, url in database_urls(facts.zone, folder.absolute(), facts.own).items()
        ]
        # A head that came meanwhile may be of a tree that the copy does not have.
        _copy_files(folder, draft / FILES, is_wanted=lambda path: path.suffix != HEAD)
        left_out = _left_out(facts)
        if recovery is None:
            left_out.append("its keys: keep them elsewhere, or name a recovery key")
        else:
            _seal_keys(folder, draft, facts, recovery=recovery, now=now)
        manifest = BackupManifest(
            zone=facts.zone,
            name=facts.name,
            made_at=now.isoformat(),
            version=VERSION,
            public_key=key.public_key.point.hex(),
            databases=tuple(databases),
            files=tuple(_listed(draft)),
            sealed_to="" if recovery is None else recovery.thumbprint,
            left_out=tuple(left_out),
        )
        text = sign_message(manifest, key=key).model_dump_json(indent=1)
        create_file(draft / MANIFEST, text.encode())
    return manifest


def verify_backup(backup: Path, *, key: Sm2PublicKey | None) -> BackupManifest:
    """Hold a backup to its manifest: signature, every file, every database, its whole log.

    Args:
        key: The zone's, as its card has it; without it the manifest's own word is taken.

    Raises:
        InputError: There is no manifest (`backup.manifest`).
        SignatureError: The zone did not sign it (`backup.signature`).
        AuditBrokenError: A file is missing, altered or too much (`backup.altered`), or a log does
            not hold (`audit.log`, `log.rolled-back`).
        StorageError: A database is damaged (`backup.database`).
    """
    manifest = _read_manifest(backup, key)
    with _told_of_disk():
        found = {one.path: one for one in _listed(backup)}
    named = {one.path: one for one in manifest.files}
    wrong = sorted(
        path for path in named.keys() | found.keys() if named.get(path) != found.get(path)
    )
    if wrong:
        raise AuditBrokenError(
            f"{len(wrong)} files of the backup are not as they were signed, as {wrong[0]}.",
            reason="backup.altered",
            remedy="Use another copy of the backup, and look for who altered this one.",
        )
    for one in manifest.databases:
        copy = backup / DATABASES / one.file
        check_copy(copy)
        if copy.suffix == SQLITE:
            with TemporaryDirectory(prefix="gridsecure-") as place:  # opening may write beside it
                _check_database(f"sqlite:///{shutil.copy(copy, place)}", one)
    return manifest


def restore_backup(
    backup: Path, folder: Path, order: RestoreOrder, *, key: Sm2PublicKey | None
) -> ZoneFacts:
    """Put a backup's zone into a folder that is empty or not there.

    Raises:
        ConflictError: There is something in the folder (`backup.there`), or in the database.
        InputError: The keys are neither in the backup nor named (`backup.keys`), or a checkpoint
            is of no log of the zone's (`backup.witnessed`).
        EnvelopeError: It is not the recovery key that they were sealed to.
        SignatureError: The zone's keys did not sign a checkpoint (`log.signature`).
        GridSecureError: As `verify_backup`; or a witness saw more of the log than the backup has
            (`log.rolled-back`). There is no folder then, and databases are as empty as before.
    """
    manifest = verify_backup(backup, key=key)
    with _told_of_disk(), _emptied_on_failure() as filled, _draft_of(folder) as draft:
        shutil.copytree(backup / FILES, draft, dirs_exist_ok=True)
        _put_keys(backup, draft, manifest, order)
        kept = read_facts(draft)
        own = {name: text for name, text in {**kept.own, **order.own}.items() if text}
        facts = kept.model_copy(update={"own": own})
        replace_file(draft / SETUP / FACTS, [facts.model_dump_json(indent=1).encode()])
        urls = database_urls(facts.zone, draft.absolute(), own)
        witnessed = _witnessed(order.witnessed, draft, manifest)
        for one in manifest.databases:
            put_back(backup / DATABASES / one.file, urls[one.name])
            filled.append(urls[one.name])
            _check_database(urls[one.name], one)
            for checkpoint in witnessed.get(one.name, ()):
                _check_witnessed(urls[one.name], checkpoint)
        for path in draft.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
    return facts


def _check_database(url: str, wanted: BackupDatabase) -> None:
    engine = open_database(url, connections=1)
    try:
        with read_session(engine) as session:
            verify_log(session)
            check_shown(session, size=wanted.size, root=bytes.fromhex(wanted.root))
    finally:
        engine.dispose()


def _check_witnessed(url: str, seen: Checkpoint) -> None:
    engine = open_database(url, connections=1)
    try:
        with read_session(engine) as session:
            check_shown(session, size=seen.size, root=seen.root)
    finally:
        engine.dispose()


def _witnessed(
    paths: Sequence[Path], draft: Path, manifest: BackupManifest
) -> dict[str, list[Checkpoint]]:
    """What each database's log is held to: every checkpoint is of one of them, and its keys'."""
    keys: dict[str, tuple[NoteKey, ...]] = {}
    for name in [one.name for one in manifest.databases] if paths else []:
        log = log_of(manifest.zone, name)
        keys[name] = load_log_signer(draft, log=log, key=load_signing_key(draft)).keys
    found: dict[str, list[Checkpoint]] = {name: [] for name in keys}
    for path in paths:
        data = path.read_bytes()
        origin = read_checkpoint(data).origin
        named = [name for name, own in keys.items() if own[0].name == origin]
        if not named:
            raise InputError(
                f"The checkpoint {path.name} is of another log, {origin}.",
                reason="backup.witnessed",
                remedy="Name checkpoints of this zone's own logs; a zone whose signing key is new "
                "has a new log.",
            )
        found[named[0]].append(open_checkpoint(data, keys[named[0]]))
    return found


def _copy_one(name: str, url: str, folder: Path) -> BackupDatabase:
    revision, tree = read_state(url)  # before the copy: it has this tree at the least
    path = copy_database(url, folder / name)
    if path.suffix == SQLITE:
        revision, tree = read_state(f"sqlite:///{path.absolute()}")
    return BackupDatabase(
        name=name, file=path.name, revision=revision, size=tree.size, root=tree.root.hex()
    )


def _copy_files(folder: Path, target: Path, *, is_wanted: Callable[[Path], bool]) -> None:
    """Copy whatever of a folder is not in the target yet; what vanishes meanwhile is left."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if not _is_kept(path, place) or (target / place).exists() or not is_wanted(path):
            continue
        (target / place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, target / place)
        except FileNotFoundError:
            (target / place).unlink(missing_ok=True)
            continue
        (target / place).chmod(0o600)


def _is_kept(path: Path, place: Path) -> bool:
    if path.is_symlink() or not path.is_file() or _is_secret(path):
        return False
    if place.parts[0] == SETUP and (SHARES in place.parts or path.suffix in _MADE_ANEW):
        return False
    is_database = any(path.name.endswith(end) for end in (SQLITE, *_ended(SQLITE)))
    return not is_database and not any(part.startswith(DRAFT) for part in place.parts)


def _ended(suffix: str) -> tuple[str, ...]:
    return tuple(suffix + end for end in _BESIDE_DATABASES)


def _is_secret(path: Path) -> bool:
    """Whether it is a key: by its name, or as the PEM of a certificate's."""
    if path.suffix == ".key":
        return True
    try:
        with path.open("rb") as opened:
            head = opened.read(_PEM_HEAD)
    except FileNotFoundError:
        return False  # it vanished meanwhile
    return head.startswith(b"-----BEGIN") and b"PRIVATE KEY-----" in head


def _secret_files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and _is_secret(path)
    ]


def _seal_keys(
    folder: Path, draft: Path, facts: ZoneFacts, *, recovery: Sm2PublicKey, now: datetime
) -> None:
    keys = {
        str(path.relative_to(folder)): path.read_bytes().hex() for path in _secret_files(folder)
    }
    sealed = seal_to(
        json.dumps(keys).encode(),
        recipient=recovery,
        purpose=_PURPOSE,
        owner=facts.zone,
        created_at=now,
    )
    create_file(draft / KEYS, sealed)


def _put_keys(backup: Path, draft: Path, manifest: BackupManifest, order: RestoreOrder) -> None:
    if order.recovery is not None and manifest.sealed_to:
        sealed = (backup / KEYS).read_bytes()
        keys = json.loads(open_from(sealed, private_key=order.recovery, purpose=_PURPOSE))
        content = {name: bytes.fromhex(text) for name, text in keys.items()}
    elif order.keys is not None:
        paths = _secret_files(order.keys)
        content = {str(path.relative_to(order.keys)): path.read_bytes() for path in paths}
    else:
        content = {}
    missing = [
        name for name in key_files(manifest.zone) if name.endswith(".key") and name not in content
    ]
    if missing:
        raise InputError(
            f"The zone's keys are missing: {', '.join(missing)}.",
            reason="backup.keys",
            remedy="Give --recovery-key, the key that they were sealed to; or --keys, a folder "
            "with them as they lay in the zone's.",
        )
    for name, data in content.items():
        path = draft / name
        if not path.resolve().is_relative_to(draft.resolve()):
            raise _no_manifest(backup)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_file(path, data)


def _left_out(facts: ZoneFacts) -> list[str]:
    left = []
    if objects := facts.own.get("objects") or facts.own.get("objects_file"):
        left.append(f"its objects ({objects}): back that store up by its own means")
    left += [f"the file {text}" for name, text in facts.own.items() if name.endswith("_file")]
    return left


def _signing_key(folder: Path, facts: ZoneFacts) -> Sm2PrivateKey:
    names = key_files(facts.zone)
    if not names:
        raise InputError(
            f"A {facts.zone} keeps nothing that could be lost.",
            reason="backup.nothing",
            remedy="Make it anew with `gridsecure init`.",
        )
    name = f"{SETUP}/{CARD_KEY}" if facts.zone == "vault" else names[0]
    return read_private_key(folder / name)


def _listed(folder: Path) -> Iterator[BackupFile]:
    """Every file of a backup but its manifest."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            digest, size = Sm3(), 0
            with path.open("rb") as file:
                while portion := file.read(_PORTION):
                    digest.update(portion)
                    size += len(portion)
            yield BackupFile(path=name, size=size, digest=digest.hexdigest())


def _read_manifest(backup: Path, key: Sm2PublicKey | None) -> BackupManifest:
    try:
        envelope = Signed.parse((backup / MANIFEST).read_bytes())
        own = Sm2PublicKey(bytes.fromhex(BackupManifest.parse(envelope.body).public_key))
    except (OSError, ValueError, GridSecureError) as error:
        raise _no_manifest(backup) from error
    if key is not None and key.point != own.point:
        raise SignatureError(
            f"The backup is of a zone with another key, {own.thumbprint}.",
            reason="backup.signature",
            remedy="Name the key as the zone's card has it, or use another backup.",
        )
    return open_message(envelope, expect=BackupManifest, trusted={own.thumbprint: own})


def _no_manifest(backup: Path) -> InputError:
    return InputError(
        f"{backup} is no backup of a zone.",
        reason="backup.manifest",
        remedy="Name the folder that `gridsecure backup` wrote.",
    )


@contextmanager
def _draft_of(place: Path) -> Iterator[Path]:
    """A folder that gets its name when the block ends well, and is gone otherwise."""
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConflictError(
            f"There is something in {place}.",
            reason="backup.there",
            remedy="Name a folder that is empty or not there.",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.parent / f"{DRAFT}{place.name}-{secrets.token_hex(4)}"
    draft.mkdir(mode=0o700)
    try:
        yield draft
        draft.rename(place)
        sync_folder(place.parent)
    except BaseException:
        shutil.rmtree(draft)
        raise


@contextmanager
def _emptied_on_failure() -> Iterator[list[str]]:
    """Databases that were put back into, emptied again unless the block ends well."""
    filled: list[str] = []
    try:
        yield filled
    except BaseException:
        for url in filled:
            take_out(url)
        raise


@contextmanager
def _told_of_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            "A backup cannot be written, read or put back.",
            reason="backup.disk",
            remedy=f"Check space and permissions ({error.strerror}).",
        ) from error
