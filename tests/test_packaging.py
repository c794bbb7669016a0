"""The files around the code agree with pyproject.toml: workflow, citation, changelog, public names."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTS = re.findall(r"^(from \S+ import (?:\([^)]*\)|.*))", (ROOT / "docs/api.md").read_text(), re.MULTILINE)


def test_the_workflow_runs_the_checks_on_every_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    least, above = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(int(least), int(above))]
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert {"push", "pull_request"} == set(workflow[True])  # YAML reads the key `on` as true


def test_the_citation_names_the_version_and_the_changelog_has_it() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"]) == (PROJECT["name"], PROJECT["version"])
    assert citation["license"] == PROJECT["license"]
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("line", IMPORTS)
def test_a_public_name_can_be_imported(line: str) -> None:
    exec(line, {})


def test_the_page_lists_public_names() -> None:
    assert len(IMPORTS) > 10
