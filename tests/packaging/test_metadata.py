"""What is said of the package in several files is said alike."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from d2r import __version__

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
CODEMETA: dict[str, Any] = json.loads((ROOT / "codemeta.json").read_text())
CHANGES = (ROOT / "CHANGELOG.md").read_text()
PRINTED = re.findall(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?$", CHANGES, re.MULTILINE)
GROUPS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Those of Keep a Changelog."""
# fmt: off
TERMS = {
    "applicationCategory", "applicationSubCategory", "author", "buildInstructions", "citation", "codeRepository",
    "contributor", "copyrightHolder", "copyrightYear", "dateCreated", "dateModified", "datePublished", "description",
    "developmentStatus", "downloadUrl", "fileSize", "funder", "funding", "identifier", "installUrl", "issueTracker",
    "keywords", "license", "maintainer", "memoryRequirements", "name", "operatingSystem", "processorRequirements",
    "programmingLanguage", "publisher", "readme", "referencePublication", "relatedLink", "releaseNotes",
    "runtimePlatform", "sameAs", "softwareHelp", "softwareRequirements", "softwareSuggestions", "softwareVersion",
    "storageRequirements", "supportingData", "targetProduct", "url", "version",
}
"""Of software, in CodeMeta's context; a reader drops any other key."""
# fmt: on


def test_the_version_is_one() -> None:
    assert {PROJECT["version"], CITATION["version"], CODEMETA["version"], __version__} == {PROJECT["version"]}


def test_the_licence_is_one() -> None:
    assert CODEMETA["license"] == f"https://spdx.org/licenses/{PROJECT['license']}"
    assert CITATION["license"] == PROJECT["license"]


def test_names_and_descriptions_agree() -> None:
    assert CODEMETA["identifier"] == PROJECT["name"]
    assert CODEMETA["name"] == CITATION["title"]
    assert CODEMETA["description"] == PROJECT["description"]


def test_authors_and_paper_agree() -> None:
    names = [author["name"] for author in CODEMETA["author"]]
    assert names == [author["name"] for author in PROJECT["authors"]]
    assert names == [author["name"] for author in CITATION["authors"]]
    (paper,) = CITATION["references"]
    assert CODEMETA["referencePublication"]["name"] == paper["title"]
    assert CODEMETA["referencePublication"]["url"] == paper["url"]


def test_versions_of_python_agree() -> None:
    classified = [line.rsplit(" :: ", 1)[1] for line in PROJECT["classifiers"] if ":: Python :: 3." in line]
    assert CODEMETA["runtimePlatform"] == [f"Python {version}" for version in classified]


def test_codemeta_states_its_context_and_only_terms_of_it() -> None:
    assert CODEMETA["@context"] == "https://w3id.org/codemeta/3.0"
    assert CODEMETA["@type"] == "SoftwareSourceCode"
    assert {key for key in CODEMETA if key[0] != "@"} <= TERMS


def test_the_changelog_begins_with_what_is_unreleased_and_has_this_version() -> None:
    versions = [version for version, _ in PRINTED]
    assert versions[0] == "Unreleased"
    assert versions[1] == PROJECT["version"]
    dates = dict(PRINTED)
    assert not dates["Unreleased"]
    assert CODEMETA["datePublished"] == dates[PROJECT["version"]]
    assert len(set(versions)) == len(versions)


@pytest.mark.parametrize("version", [version for version, _ in PRINTED])
def test_changes_are_in_groups_that_are_known(version: str) -> None:
    section = CHANGES.split(f"\n## [{version}]")[1].split("\n## [")[0]
    groups = re.findall(r"^### (.*)$", section, re.MULTILINE)
    assert groups
    assert set(groups) <= GROUPS
    assert len(set(groups)) == len(groups)
