"""Print the software bill of materials of this image as CycloneDX 1.5 JSON: Debian packages and Python packages."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from typing import Any
from urllib.parse import quote


def debian_packages() -> list[dict[str, Any]]:
    """Return the installed Debian packages as CycloneDX components."""
    query = ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\n"]
    listing = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in listing.splitlines()]
    return [component("deb/debian", name, version, f"?arch={arch}") for name, version, arch in rows]


def python_packages() -> list[dict[str, Any]]:
    """Return the packages of this Python environment as CycloneDX components, with the licences that they state."""
    components = []
    for package in metadata.distributions():
        entry = component("pypi", package.metadata["Name"].lower().replace("_", "-"), package.version)
        if expression := package.metadata["License-Expression"]:
            entry["licenses"] = [{"expression": expression}]
        elif names := licence_classifiers(package.metadata):
            entry["licenses"] = [{"license": {"name": name}} for name in names]
        components.append(entry)
    return components


def licence_classifiers(package: metadata.PackageMetadata) -> list[str]:
    """Return the licences among a package's classifiers, by name."""
    classifiers = package.get_all("Classifier") or []
    return [text.rsplit(" :: ", 1)[1] for text in classifiers if text.startswith("License :: ")]


def component(kind: str, name: str, version: str, qualifiers: str = "") -> dict[str, Any]:
    """Return one CycloneDX component, identified by its package URL."""
    purl = f"pkg:{kind}/{name}@{quote(version, safe='.-~')}{qualifiers}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    components = sorted(debian_packages() + python_packages(), key=lambda entry: entry["bom-ref"])
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
    print(json.dumps(bill, indent=1, sort_keys=True))
