"""What a call of one step costs besides its step: modules that nobody needs, and compositions of the config."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import QUIET, TINY, TRAIN, Inside
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from grokplane.app import resume

SHORT = (*TINY, *QUIET, "mi=off", "train.steps=1", "hydra.run.dir=run")
UNNEEDED = ("sympy", "pandas", "wandb", "matplotlib", "sklearn", "scipy", "torchvision", "ray", "submitit")


def test_a_run_of_one_step_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    code = (
        f"import atexit, runpy, sys; sys.argv[:] = ['train.py', *{SHORT}]\n"
        f"atexit.register(lambda: print('imported', [name for name in {UNNEEDED} if name in sys.modules]))\n"
        f"runpy.run_path({str(TRAIN)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported []"


@pytest.mark.parametrize("more", [(), ("train.resume=true", "train.steps=2")])
def test_a_single_run_is_composed_once(
    more: tuple[str, ...], tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed, load = list[str](), ConfigLoaderImpl.load_configuration

    def counted(self: ConfigLoaderImpl, config_name: str, overrides: list[str], *rest: Any, **more: Any) -> Any:
        composed.append(config_name)
        return load(self, config_name, overrides, *rest, **more)

    if more:
        assert inside(*SHORT, cwd=tmp_path).returncode == 0
    resume._defaults.cache_clear()
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    assert inside(*SHORT, *more, cwd=tmp_path).returncode == 0
    assert composed == ["train"] * (2 if more else 1)  # a resumed run is compared with the defaults


def test_a_name_with_the_time_is_part_of_the_folder_and_of_the_record(tmp_path: Path, inside: Inside) -> None:
    typed = [line for line in SHORT if not line.startswith("hydra.run.dir")]
    folder = "hydra.run.dir=${name}/${hydra.job.override_dirname}"
    assert inside(*typed, "name=a_${now:%Y}", folder, cwd=tmp_path).returncode == 0
    (made,) = tmp_path.glob("a_2*/*name=*")
    assert (made / "summary.json").exists()
    assert "hydra.mode=RUN" in (made / ".hydra" / "hydra.yaml").read_text()
