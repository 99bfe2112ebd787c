"""`gridsecure replay`: a certificate's plans executed again from the ciphertexts, by anybody.

Ciphertexts and keys are others' bytes, which the homomorphic library decodes. So all of it is read
and executed in a worker process that keeps the folder of the objects, or the network of a bucket,
and neither other files nor programs (`sandbox`).
"""

from __future__ import annotations

import json
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from rich.console import Console

from gridsecure.analyst import releases, replay_material, replays
from gridsecure.cli.analyst import parse_point
from gridsecure.cli.output import OutputFormat, print_result
from gridsecure.cli.verify import read_file
from gridsecure.errors import GridSecureError
from gridsecure.sandbox import Confinement
from gridsecure.store.objects import ObjectStore, folder_url, open_objects
from gridsecure.worker_environment import credential_files, store_environment, token_folders
from gridsecure.worker_processes import WorkerProcesses

CERTIFICATE: Final = "certificate.json"
MESSAGES: Final = "messages.json"
_SHOWN: Final = 20
_FILE: Final = "file://"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the worker is to replay.

    Args:
        keys: Public keys of the key authority and of the identity authority.
    """

    certificate: bytes
    messages: Path
    objects: str
    keys: tuple[str, str]


def open_store(place: str) -> ObjectStore:
    """The objects in a folder, or in a store by its URL.

    Raises:
        GridSecureError: As `open_objects`.
    """
    return open_objects(place if "://" in place else folder_url(Path(place)))


def replay_file(
    path: Path, *, messages: Path | None, objects: str, keys: tuple[str, str], output: OutputFormat
) -> bool:
    """Replay the certificate in a file and say what was found.

    Args:
        messages: The signed messages; by default those beside the certificate.
        objects: Folder or URL of the objects.
        keys: Public keys of the key authority and of the identity authority, 130 hexadecimal
            digits.

    Returns:
        Whether everything was executed again and is the same.

    Raises:
        NotFoundError: There is no such file (`certificate.file`).
        GridSecureError: As `replays.replay_certificate`, or the worker ended (`replay.worker`).
    """
    place = (messages or path.parent / MESSAGES).resolve()
    document = _confined(_Asked(read_file(path), place, open_store(objects).url, keys))
    print_result(document, output, show=lambda console: _show(document, console))
    is_same: bool = document["is_same"]
    return is_same


def _confined(asked: _Asked) -> dict[str, Any]:
    """Replay in a process that keeps little besides what is replayed."""
    reads = [str(asked.messages)]
    if asked.objects.startswith(_FILE):
        confinement = Confinement(reads=[*reads, unquote(urlsplit(asked.objects).path)])
    else:
        variables = store_environment()
        reads += [*credential_files(variables), *token_folders(variables)]
        confinement = Confinement(reads=reads, network=True, variables=variables)
    workers = WorkerProcesses(
        _replay, start=_start, workers=1, confinement=confinement, read=_read_document
    )
    try:
        (answer,) = workers.submit([asked])
        return answer.result()
    except BrokenProcessPool as error:
        raise GridSecureError(
            "The process that executed the plans ended without an answer.",
            reason="replay.worker",
            remedy="Look whether memory ran out. If it did not, one of the ciphertexts or keys "
            "does what it should not: keep the folder, and tell whoever exported it.",
        ) from error
    finally:
        workers.close()


def _start() -> None:
    """What a worker does before: nothing."""


def _replay(asked: _Asked) -> str:
    """Replay, in the worker."""
    authority, identity = asked.keys
    material = replay_material.read_messages(asked.messages, store=open_store(asked.objects))
    found = replays.replay_certificate(
        asked.certificate,
        material,
        authority=releases.pin_authority(authority),
        identity=[parse_point(identity, option="--identity-key")],
    )
    return json.dumps(_document(found))


def _read_document(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _document(found: replays.Replay) -> dict[str, Any]:
    certificate, error = found.certificate, found.error
    return {
        "release_id": certificate.release_id,
        "plan": certificate.plan,
        "start": certificate.start,
        "end": certificate.end,
        "is_same": found.is_same,
        "reason": error.reason if error else None,
        "message": error.message if error else None,
        "counted": found.counted,
        "transcripts": [_part(part) for part in found.parts],
    }


def _part(part: replays.Replayed) -> dict[str, Any]:
    return {
        "transcript": part.transcript,
        "release": part.release,
        "rosters": list(part.rosters),
        "columns": part.columns,
        "outputs": part.outputs,
        "reason": part.error.reason if part.error else None,
        "message": part.error.message if part.error else None,
        "remedy": part.error.remedy if part.error else None,
        "missing": dict(part.missing),
    }


def _show(document: dict[str, Any], console: Console) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    parts, advised = document["transcripts"], set[str]()
    say(f"Release {document['release_id']}, {document['plan']}, {len(parts)} transcripts")
    for part in parts:
        rosters = ", ".join(one[:12] for one in part["rosters"])
        say(f"  {part['transcript'][:16]} of {rosters or 'rosters that are not known'}")
        if part["reason"] is None:
            say(f"    same: {part['columns']} columns read, {part['outputs']} outputs")
            continue
        say(f"    {part['reason']}: {part['message']}")
        for digest, what in list(part["missing"].items())[:_SHOWN]:
            say(f"      {digest} {what}")
        if part["remedy"] not in advised:  # a month of load curves says one thing thirty times
            say(f"    What to do: {part['remedy']}")
        advised.add(part["remedy"])
    if document["reason"]:
        say(f"{document['reason']}: {document['message']}")
    if document["counted"]:
        say(f"{document['counted']} zones and classes have the members that the rosters have.")
    if document["is_same"]:
        say("All plans were executed again and gave the outputs that the certificate names.")
