"""The bill of materials: every locked package with its hashes and licence, as CycloneDX JSON.

`make sbom` writes it. Licences are those that installed packages state of themselves; of one that
is not installed here, because it is for another system, the bill says so instead of guessing. The
same locks and packages give the same bytes: nothing in it tells of a clock or of a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from gridsecure.version import VERSION
from tests.supply.locks import Locked, list_locks, read_lock

OUTPUT: Final = Path("dist") / f"gridsecure-{VERSION}.cdx.json"
OWN_LICENCE: Final = "Apache-2.0"
RUNTIME: Final = "runtime"
BESIDE: Final = (".venv/openfhe/lib", ".venv/log-peer")
"""Environments of the locks that are not installed where this runs."""
_CLASSIFIER: Final = "License :: "
_LONGEST: Final = 80


def main() -> None:
    """Write the bill, and say of how many packages nothing here tells the licence."""
    packages = read_packages(list_locks())
    licences = read_licences(_installed())
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(write_bill(packages, licences=licences), encoding="utf-8")
    unknown = sorted({one.name for one in packages if one.name not in licences})
    print(f"{OUTPUT}: {len(packages)} packages")
    if unknown:
        print(f"No package installed here states the licence of {', '.join(unknown)}.")


def read_packages(locks: Iterable[Path]) -> dict[Locked, list[str]]:
    """Each package of some locks, and the names of those that pin it."""
    found: dict[Locked, list[str]] = {}
    for path in locks:
        for package in read_lock(path):
            found.setdefault(package, []).append(path.stem)
    return found


def _installed() -> Iterator[Distribution]:
    folders = [path for one in BESIDE for path in (Path(one), *Path(one).glob("*/site-packages"))]
    yield from distributions()
    yield from distributions(path=[str(path) for path in folders])


def read_licences(installed: Iterable[Distribution]) -> dict[str, str]:
    """What packages say of their licence, by their canonical names."""
    found: dict[str, str] = {}
    for one in installed:
        said = _licence(one.metadata)
        if said:
            found.setdefault(canonicalize_name(one.metadata["Name"]), said)
    return found


def _licence(metadata: PackageMetadata) -> str:
    """Its expression (PEP 639), or the short text, or the classifiers of before."""
    expression = metadata.get("License-Expression", "")
    if expression:
        return expression
    text = (metadata.get("License", "") or "").strip()
    if text and "\n" not in text and len(text) <= _LONGEST:
        return text
    named = [one for one in metadata.get_all("Classifier") or () if one.startswith(_CLASSIFIER)]
    return "; ".join(one.rpartition(" :: ")[2] for one in named)


def write_bill(packages: Mapping[Locked, list[str]], *, licences: Mapping[str, str]) -> str:
    """The bill as JSON of CycloneDX 1.6."""
    own = Component(
        name="gridsecure",
        version=VERSION,
        type=ComponentType.APPLICATION,
        bom_ref="gridsecure",
        licenses=[LicenseFactory().make_from_string(OWN_LICENCE)],
    )
    parts = [_component(one, locks, licences.get(one.name, "")) for one, locks in packages.items()]
    pinned = "\n".join(f"{one.purl} {' '.join(one.hashes)}" for one in packages)
    bill = Bom(components=parts, serial_number=uuid5(NAMESPACE_URL, pinned))
    bill.metadata.component = own
    bill.register_dependency(own, [one for one in parts if one.scope is ComponentScope.REQUIRED])
    written = json.loads(JsonV1Dot6(bill).output_as_string())
    # When it was written is no part of what it says, and would make each copy another one.
    del written["metadata"]["timestamp"]
    return json.dumps(written, indent=1, sort_keys=True) + "\n"


def _component(package: Locked, locks: list[str], licence: str) -> Component:
    said = {"lock": " ".join(locks), "marker": package.marker}
    if not licence:
        said["licence"] = "unknown: no package that is installed here states it"
    own = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(package.purl),
        comment="The files that may be installed.",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in package.hashes],
    )
    licences: list[License] = [LicenseFactory().make_from_string(licence)] if licence else []
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=_reference(package),
        purl=PackageURL.from_string(package.purl),
        scope=ComponentScope.REQUIRED if RUNTIME in locks else ComponentScope.EXCLUDED,
        licenses=licences,
        external_references=[own],
        properties=[Property(name=f"gridsecure:{name}", value=v) for name, v in said.items() if v],
    )


def _reference(package: Locked) -> str:
    """Its name within the bill; one version may be pinned for two Pythons."""
    return f"{package.purl} {package.marker}".strip()


if __name__ == "__main__":
    main()
