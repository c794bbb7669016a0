"""`python -m grokplane.app.write_configs`: write the keys of every schema into the YAML files of configs/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grokplane import config, written


def current() -> Iterator[tuple[Path, str]]:
    """Every YAML file in configs/ that starts from a schema, with the text that it should have."""
    schemas = {"": config.root()} | {f"{group}/{name}": choice for group, name, choice in config.choices()}
    for file in sorted(config.CONFIGS.rglob("*.yaml")):
        group = file.parent.relative_to(config.CONFIGS).as_posix().removeprefix(".")
        found = written.read(file.read_text(encoding="utf-8"), group)
        if found.schema in schemas:
            yield file, written.write(found.own, schemas[found.schema])


if __name__ == "__main__":
    for path, text in current():
        path.write_text(text, encoding="utf-8")
