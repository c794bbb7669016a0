"""Fixtures and settings for all tests."""

from __future__ import annotations

import copy
import importlib
import logging
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from command import Call, Forget, Inside, Submit, background, without_waiting
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins

from grokplane import app, config, plugins, sweep
from grokplane.process_settings import set_up_process
from grokplane.sweep import branching

PROGRAMS = {
    "train.py": partial(app.main, "train"),
    "train_mnist.py": partial(app.main, "train_mnist"),
    "sweep.py": sweep.main,
    "branch.py": branching.main,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The settings of the programs; a second thread beside another busy process can be far slower than one thread."""
    set_up_process(1)


@pytest.fixture(scope="module")
def submit() -> Iterator[Submit]:
    """Runs calls in the background, two at a time, while the module's other tests run."""
    with background() as submit:
        yield submit


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Inside]:
    """Call a program in this process, so that torch is not imported again."""
    earlier, root = signal.getsignal(signal.SIGTERM), logging.getLogger()
    before = root.level, list(root.handlers)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the programs set it for good
    monkeypatch.setenv("COLUMNS", "120")  # workers of pytest-xdist have 80

    def call_inside(*arguments: str, cwd: Path, program: str = "train.py") -> Call:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr("sys.argv", [program, *arguments])
        monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # an earlier call's job may have left its own
        with pytest.raises(SystemExit) as ended:
            PROGRAMS[program]()
        assert isinstance(ended.value.code, int)
        out, err = capsys.readouterr()
        return Call(list(arguments), ended.value.code, str(out), without_waiting(str(err)))

    yield call_inside
    signal.signal(signal.SIGTERM, earlier)
    for handler in root.handlers:  # Hydra's
        if handler not in before[1]:
            handler.close()
    root.handlers[:] = before[1]
    root.setLevel(before[0])


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Forget]:
    """Makes this process what a new one is: no plug-in is named, and the working directory is `tmp_path`."""
    before, modules, store = list(sys.path), set(sys.modules), ConfigStore.instance()
    config.register_schemas()
    Plugins.instance()
    nodes = copy.deepcopy(store.repo)
    monkeypatch.chdir(tmp_path)

    def forget(*places: str) -> None:
        sys.path[:] = [*places, *before]
        importlib.invalidate_caches()
        for name in set(sys.modules) - modules:
            if not name.startswith("grokplane"):
                file = getattr(sys.modules[name], "__file__", None) or ""
                if file.startswith(str(tmp_path)):
                    del sys.modules[name]
        plugins._named.clear()
        plugins._installed.cache_clear()
        store.repo = copy.deepcopy(nodes)
        config.use_plugins([])

    forget()
    yield forget
    forget()  # without what the test installed
