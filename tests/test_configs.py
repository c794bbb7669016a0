"""The YAML files in configs/ show every key of their schemas, with the schema's defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from grokplane import config, written
from grokplane.app.write_configs import current

CURRENT = {file.relative_to(config.CONFIGS).as_posix(): text for file, text in current()}
SCHEMAS = {f"{group}/{name}": choice for group, name, choice in config.choices()}


@pytest.mark.parametrize("name", CURRENT)
def test_a_file_shows_the_keys_of_its_schema(name: str) -> None:
    assert (config.CONFIGS / name).read_text(encoding="utf-8") == CURRENT[name], "run `make configs`"


def test_every_choice_has_a_file() -> None:
    files = [written.read(text, Path(name).parent.as_posix()).schema for name, text in CURRENT.items()]
    assert set(files) == {"", *SCHEMAS}


@pytest.mark.parametrize("name", [name for name in CURRENT if "/" in name])
def test_the_written_keys_are_the_defaults(name: str) -> None:
    found = written.read(CURRENT[name], Path(name).parent.as_posix())
    assert found.schema is not None
    node = OmegaConf.structured(config.schema(SCHEMAS[found.schema]))
    own = {key: value for key, value in (yaml.safe_load(found.own) or {}).items() if key != "defaults"}
    assert OmegaConf.merge(node, own) == OmegaConf.merge(node, found.values)


def test_the_file_of_an_optimizer_shows_help_default_and_bounds() -> None:
    text = (config.CONFIGS / "optimizer/adamw.yaml").read_text(encoding="utf-8")
    assert "\n# learning rate (a number at least 0)\nlr: 0.001\n" in text
    assert "each below 1 and at least 0)\nbetas: [0.9, 0.999]\n" in text.replace("\n# ", " ")
    assert "\neps: 1.0e-08\n" in text


def test_a_value_of_the_files_own_is_kept() -> None:
    found = written.read("# Mine.\ndefaults:\n  - schema/adamw@_here_\nlr: 0.5\n", "optimizer")
    text = written.write(found.own, SCHEMAS["optimizer/adamw"])
    again = written.read(text, "optimizer")
    assert written.write(again.own, SCHEMAS["optimizer/adamw"]) == text
    assert again.values["lr"] == 0.5
    assert text.count("\nlr: ") == 1
    assert "`lr` is set above (default: 0.001): learning rate" in text
