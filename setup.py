"""Builds the wheel; pyproject.toml says all the rest.

The config groups and the sweep files lie at the top of the source tree, in one copy. A wheel holds them within the
package; an editable install reads them where they are.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithData(build_py):
    """Copies `configs/` and `sweeps/` into the built package."""

    def run(self) -> None:
        """Build the modules, then copy the folders."""
        super().run()
        if not self.editable_mode:
            for name in ("configs", "sweeps"):
                for file in sorted(Path(name).rglob("*.yaml")):
                    if file.parent.name == "local":  # this checkout's own defaults
                        continue
                    target = Path(self.build_lib, "grokplane", file)
                    self.mkpath(str(target.parent))
                    self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithData})
