"""A W&B server on loopback, with the part of the protocol that sweeps, agents, runs and `wandb sync` need.

It gives the cells of a grid to each agent one at a time, as W&B's server does, and stores what it receives. No run is
ever resumed. Unknown requests get an error, which W&B's programs can handle.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

ENTITY, PROJECT = "tester", "grokplane"
VIEWER = {"id": "1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}", "teams": {"edges": []}}
OWNER = {"id": "1", "name": PROJECT, "entity": {"id": "1", "name": ENTITY}}

Answer = dict[str, Any]


@dataclass
class Run:
    """The server's record of a run.

    Attributes:
        cell: the values that an agent was given for it; empty for a run outside of a sweep.
        config: the config that the run reported, without W&B's own entry.
        rows: its history.
        summary: its latest summary.
        exit_code: the exit code that the run reported.
        listed: whether an agent runs it now; None before that, and for a run outside of a sweep.
    """

    cell: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    listed: bool | None = None

    @property
    def state(self) -> str:
        """`pending`, `running`, `finished` or `failed`; a run that ends without a report counts as failed."""
        if self.exit_code is None:
            return "failed" if self.listed is False else "running" if self.listed or self.config else "pending"
        return "failed" if self.exit_code else "finished"


class Wandb:
    """The server's data, and its answers to GraphQL operations."""

    def __init__(self) -> None:
        self.url = ""
        self.sweeps: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, Run] = {}
        self._waiting: dict[str, list[str]] = {}
        self._agents: list[tuple[str, set[str]]] = []
        self._lock = threading.Lock()
        self._operations = {
            "Viewer": lambda _: {"viewer": VIEWER},
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
            "UpsertSweep": self._sweep,
            "SweepWithRuns": self._sweep_file,
            "CreateAgent": self._agent,
            "Heartbeat": self._heartbeat,
            "RunResumeStatus": lambda _: {"model": {"bucket": None}},
            "UpsertBucket": self._run,
            "CreateRunFiles": self._files,
        }

    def graphql(self, query: str, asked: Mapping[str, Any]) -> Answer:
        """The answer to an operation: its `data`, or `errors`."""
        name = query.partition("{")[0].partition("(")[0].split()[-1]
        if name not in self._operations:
            return {"errors": [{"message": f"no such operation: {name}"}]}
        with self._lock:
            return {"data": self._operations[name](asked)}

    def stream(self, run_id: str, sent: Mapping[str, Any]) -> None:
        """Store what a run streams: history rows from an offset on, its summary, its end."""
        with self._lock:
            run, files = self.runs[run_id], sent.get("files") or {}
            if history := files.get("wandb-history.jsonl"):
                run.rows[history["offset"] :] = map(json.loads, history["content"])
            if summary := files.get("wandb-summary.json"):
                run.summary = json.loads(summary["content"][-1])
            if sent.get("complete"):
                run.exit_code = sent["exitcode"]

    def of_sweep(self, sweep: str) -> list[Run]:
        """The runs of a sweep, in the order of its cells."""
        return [run for run_id, run in self.runs.items() if run_id.startswith(f"{sweep}-")]

    def _sweep(self, asked: Mapping[str, Any]) -> Answer:
        sweep, content = f"sweep{len(self.sweeps)}", yaml.safe_load(asked["config"])
        cells = {f"{sweep}-{number}": Run(cell) for number, cell in enumerate(_grid(content["parameters"]))}
        self.sweeps[sweep], self._waiting[sweep] = content, list(cells)
        self.runs |= cells
        return {"upsertSweep": {"sweep": {"name": sweep, "project": OWNER}, "configValidationWarnings": []}}

    def _sweep_file(self, asked: Mapping[str, Any]) -> Answer:
        content = yaml.safe_dump(self.sweeps[asked["sweep"]])
        return {"project": {"sweep": {"name": asked["sweep"], "config": content, "runs": {"edges": []}}}}

    def _agent(self, asked: Mapping[str, Any]) -> Answer:
        self._agents.append((asked["sweep"], set()))
        return {"createAgent": {"agent": {"id": str(len(self._agents) - 1)}}}

    def _heartbeat(self, asked: Mapping[str, Any]) -> Answer:
        """The agent lists its runs; when the list is empty it gets the next cell, and after the last cell `exit`."""
        sweep, running = self._agents[int(asked["id"])]
        for run_id in running - json.loads(asked["runState"]).keys():
            running.remove(run_id)
            self.runs[run_id].listed = False
        commands = [] if running else [self._command(sweep, running)]
        return {"agentHeartbeat": {"agent": {"id": asked["id"]}, "commands": json.dumps(commands)}}

    def _command(self, sweep: str, running: set[str]) -> dict[str, Any]:
        if not self._waiting[sweep]:
            return {"type": "exit"}
        run_id = self._waiting[sweep].pop(0)
        running.add(run_id)
        self.runs[run_id].listed = True
        values = {key: {"value": value} for key, value in self.runs[run_id].cell.items()}
        return {"type": "run", "run_id": run_id, "program": self.sweeps[sweep]["program"], "args": values}

    def _run(self, asked: Mapping[str, Any]) -> Answer:
        name = asked["name"]
        inserted, run = name not in self.runs, self.runs.setdefault(name, Run())
        for key, entry in json.loads(asked["config"] or "{}").items():
            if key != "_wandb":
                run.config[key] = entry["value"]
        bucket = {"id": name, "name": name, "displayName": asked["displayName"] or name, "sweepName": asked["sweep"]}
        bucket |= {"project": OWNER, "historyLineCount": len(run.rows)}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _files(self, asked: Mapping[str, Any]) -> Answer:
        files = [{"name": name, "uploadUrl": f"{self.url}/{asked['run']}/{name}"} for name in asked["files"]]
        return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}


class Server(Wandb):
    """The server itself while its `with` block runs; `url` is what WANDB_BASE_URL must be."""

    def __enter__(self) -> Server:
        handler = type("Handler", (_Handler,), {"wandb": self})
        self._http = _Http(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connection errors of runs that end."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    wandb: Wandb
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def do_POST(self) -> None:
        body, parts = self._body(), self.path.strip("/").split("/")
        answer: Answer = {"errors": [{"message": f"no such address: {self.path}"}]}
        if parts == ["graphql"]:
            sent = json.loads(body)
            answer = self.wandb.graphql(sent["query"], sent.get("variables") or {})
        elif parts[-1] == "file_stream":  # /files/ENTITY/PROJECT/RUN/file_stream
            self.wandb.stream(parts[3], json.loads(body))
            answer = {"limits": {}}
        self._answer(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's names)
        """Suppress log lines."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, content: Answer) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _grid(parameters: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The cells of a grid, with the last parameter varying fastest."""
    axes = {key: spec["values"] if "values" in spec else [spec["value"]] for key, spec in parameters.items()}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
