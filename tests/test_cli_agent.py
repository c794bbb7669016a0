"""What W&B's users do, with the real `wandb` command and a server on loopback: `sweep`, `agent`, `sync`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import TINY, TRAIN, Call, finished, rows, summary
from omegaconf import OmegaConf
from wandb_server import ENTITY, PROJECT, Run, Server

from grokplane import config

SHORT = (*TINY, "train.steps=20", "log.dense_steps=3", "log.every=5", "record.figures=false")
SHIPPED = "optimizer_x_seed"
GRID = {"optimizer": ["adamw", "sgd"], "seed": [0, 1]}
# One cell that is refused before it starts and one whose loss overflows.
BAD = {"data.train_fraction": [2, 0.5]}
DIVERGING = ("optimizer.lr=1000000", "optimizer.weight_decay=1")


def sweep_file(cwd: Path, name: str, parameters: dict[str, list[Any]], *fixed: str) -> str:
    """A shipped file with other parameters, its runs made tiny, its program found from this folder."""
    content = yaml.safe_load((TRAIN.parent / "sweeps" / f"{SHIPPED}.yaml").read_text())
    at = content["command"].index("${args_no_hyphens}")
    content["command"][at:at] = [*SHORT, *fixed]
    content |= {"program": str(TRAIN), "parameters": {key: {"values": values} for key, values in parameters.items()}}
    (cwd / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return f"{name}.yaml"


def environment(server: Server, cwd: Path) -> dict[str, str]:
    """That of a user with a key for the server and the virtual environment in use."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_"))}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    own = {"HOME": str(cwd), "PATH": path, "OMP_NUM_THREADS": "1", "NO_PROXY": "127.0.0.1"}
    account = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0123456789" * 4, "WANDB_ERROR_REPORTING": "false"}
    return kept | own | account


def wandb(*arguments: str, server: Server, cwd: Path) -> Call:
    """`wandb ARGUMENTS`, which must end well."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("wandb")), *arguments],
        cwd=cwd,
        env=environment(server, cwd),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


def synced(server: Server, cwd: Path) -> Path:
    """An offline run that `wandb sync` has uploaded."""
    finished(*SHORT, "mi=off", "hydra.run.dir=run", cwd=cwd, WANDB_MODE="offline")
    (offline,) = (cwd / "run" / "wandb").glob("offline-run-*")
    wandb("sync", str(offline), server=server, cwd=cwd)
    return cwd / "run"


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agents")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def calls(server: Server, cwd: Path) -> Iterator[dict[str, Future[Any]]]:
    """Two agents on one grid, one on the bad cells, and `wandb sync`, at a time: an agent mostly waits."""
    with ThreadPoolExecutor() as pool:
        upload = pool.submit(synced, server, cwd)
        for name, parameters, fixed in (("grid", GRID, ()), ("bad", BAD, DIVERGING)):
            wandb("sweep", sweep_file(cwd, name, parameters, *fixed), server=server, cwd=cwd)
        agents = {"first": "sweep0", "second": "sweep0", "bad": "sweep1"}
        started = {
            name: pool.submit(wandb, "agent", f"{ENTITY}/{PROJECT}/{sweep}", server=server, cwd=cwd)
            for name, sweep in agents.items()
        }
        yield started | {"synced": upload}


def folders(cwd: Path) -> dict[str, Path]:
    """The folder of each of the agents' runs by the run's id."""
    return {summary(path.parent)["wandb_id"]: path.parent for path in cwd.glob("outputs/*/*/summary.json")}


def reported(run: Run) -> list[dict[str, Any]]:
    """A run's rows as the folder has them: without W&B's own columns and what a clock measured."""
    return [{key: value for key, value in row.items() if not key.startswith(("_", "time/"))} for row in run.rows]


def recorded(folder: Path) -> list[dict[str, Any]]:
    """A folder's rows as W&B gets them: without nulls."""
    return [{key: value for key, value in row.items() if value is not None} for row in rows(folder)]


def code_of(folder: Path) -> dict[str, Any]:
    """What a run's config says in W&B of the commit that made it."""
    return {f"code.{key}": value for key, value in summary(folder)["code"].items() if value is not None}


def test_agents_run_a_grid_to_the_end_and_each_run_reports_its_own_cell(
    calls: dict[str, Future[Any]], server: Server
) -> None:
    for name in ("first", "second"):
        calls[name].result()
    runs = server.of_sweep("sweep0")
    cells = [("adamw", 0), ("adamw", 1), ("sgd", 0), ("sgd", 1)]
    assert [(run.cell["optimizer"], run.cell["seed"]) for run in runs] == cells
    for run in runs:
        assert run.state == "finished"
        assert run.listed is False
        assert run.config.items() >= run.cell.items()


def test_what_a_run_of_an_agent_reports_is_what_its_folder_holds(
    calls: dict[str, Future[Any]], server: Server, cwd: Path
) -> None:
    for name in ("first", "second"):
        calls[name].result()
    for run_id in [run_id for run_id, run in server.runs.items() if run in server.of_sweep("sweep0")]:
        run, folder = server.runs[run_id], folders(cwd)[run_id]
        nested = config.flat(OmegaConf.load(folder / ".hydra" / "config.yaml"))
        assert nested["seed"] == run.cell["seed"]
        assert nested["optimizer._target_"].lower().endswith(f".{run.cell['optimizer']}")
        assert run.config == nested | run.cell | code_of(folder)
        assert reported(run) == recorded(folder)
        assert run.rows[-1]["step"] == 20
        assert run.summary["status"] == "finished"
        assert run.summary["Acc/test"] == rows(folder)[-1]["Acc/test"]


def test_cells_that_fail_are_seen_as_failed(calls: dict[str, Future[Any]], server: Server) -> None:
    agent = calls["bad"].result()
    refused, diverged = server.of_sweep("sweep1")
    assert [run.state for run in (refused, diverged)] == ["failed", "failed"]
    assert (refused.rows, refused.exit_code) == ([], None)
    assert "\ndata.train_fraction=2.0: must be above 0 and below 1\n" in agent.stderr
    assert diverged.config["data.train_fraction"] == 0.5
    assert diverged.exit_code == 1
    assert diverged.summary["status"] == "diverged"
    assert diverged.rows[-1]["step"] == diverged.summary["diverged"]


def test_sync_uploads_an_offline_run_with_all_its_rows(calls: dict[str, Future[Any]], server: Server) -> None:
    folder = calls["synced"].result()
    run = server.runs[summary(folder)["wandb_id"]]
    assert run.state == "finished"
    assert reported(run) == recorded(folder)
    assert [row["step"] for row in run.rows] == [0, 1, 2, 5, 10, 15, 20]
    assert run.config == config.flat(OmegaConf.load(folder / ".hydra" / "config.yaml")) | code_of(folder)
    assert run.summary["status"] == "finished"
