"""Online W&B and `grokplane.record.sync`, with a small server on this machine."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command import digest

import grokplane
from grokplane.record import Record, Recorder, sync

VIEWER = {"id": "v", "entity": "ent", "username": "u", "flags": "{}", "teams": {"edges": []}}
TRACK = """
import sys
from pathlib import Path
from grokplane.record import Record
from grokplane.record.tracking import Tracker
config, wait = {"optimizer": {"lr": 0.1}}, float(sys.argv[4])
tracker = Tracker(Path(sys.argv[1]), config, Record(), "abcd1234", finish_timeout=wait)
for step in range(int(sys.argv[2]), int(sys.argv[3])):
    tracker.log({"step": step, "Loss/train": 1 / (step + 1)})
for picture in map(Path, sys.argv[5:]):
    tracker.log_image(picture)
print(tracker.mode, tracker.run_id, flush=True)
if wait == 2:
    input()
tracker.finish({"status": "finished"})
print(tracker.mode)
"""


class Server(ThreadingHTTPServer):
    """Answers the requests of one W&B run, and stores what it sends: history rows by run id, and the names."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.rows: dict[str, list[dict]] = {}
        self.upserts: list[dict] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def graphql(self, query: str, variables: dict) -> dict:
        project = {"id": "p", "name": "grokplane", "entity": {"id": "e", "name": "ent"}}
        if "mutation UpsertBucket" in query:
            self.upserts.append(variables)
            bucket = {"id": "b", "name": variables["name"], "displayName": "n", "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}
        if "query RunResumeStatus" in query:
            return {"model": project | {"bucket": self.resume_status(variables["name"])}}
        if "mutation CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {"viewer": VIEWER}

    def resume_status(self, name: str) -> dict | None:
        rows = self.rows.get(name)
        if rows is None:
            return None
        texts = {"historyTail": json.dumps([json.dumps(rows[-1])]), "eventsTail": "[]", "summaryMetrics": "{}"}
        counts = {"historyLineCount": len(rows), "eventsLineCount": 0, "logLineCount": 0}
        bucket = {"id": "b", "name": name, "displayName": "n", "config": "{}", "tags": [], "notes": ""}
        return bucket | texts | counts | {"wandbConfig": '{"t": 1}'}

    def stream(self, path: str, body: dict) -> None:
        history = body.get("files", {}).get("wandb-history.jsonl", {"content": []})
        rows = self.rows.setdefault(path.split("/")[-2], [])
        rows += [json.loads(line) for line in history["content"]]


class Answers(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 (http.server's name)

    def answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/graphql":
            asked = json.loads(body)
            return self.answer({"data": self.server.graphql(asked["query"], asked["variables"])})
        if self.path.endswith("/file_stream"):
            self.server.stream(self.path, json.loads(body))
        self.answer({})

    do_PUT = do_POST  # noqa: N815 (http.server's name)


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def environment(home: Path, url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB") and name != "NETRC"}
    wandb = {"WANDB_BASE_URL": url, "WANDB_API_KEY": "0123456789" * 4, "NO_PROXY": "127.0.0.1"}
    return kept | wandb | {"HOME": str(home), "PYTHONPATH": str(Path(grokplane.__path__[0]).parent)}


def python(home: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment(home, url), capture_output=True, text=True, timeout=60)


def make_run(folder: Path) -> str:
    with Recorder(folder, {}, Record(wandb="disabled")) as recorder:
        for step in range(4):
            recorder.log({"step": step, "Loss/train": 1 / (step + 1)})
        run_id = recorder.finish("finished")["wandb_id"]
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("optimizer: {lr: 0.1}\nrecord: {wandb: disabled, group: g1}\n")
    return run_id


def test_a_resumed_online_run_keeps_its_id_and_adds_only_new_steps(tmp_path, server):
    for first, last in ((0, 5), (3, 8)):
        done = python(tmp_path, server.url, "-c", TRACK, str(tmp_path / "run"), str(first), str(last), "30")
        assert done.stdout == "online abcd1234\nonline\n", done.stderr
        assert done.stderr == ""
    assert [row["_step"] for row in server.rows["abcd1234"]] == list(range(8))
    assert [row["Loss/train"] for row in server.rows["abcd1234"]] == [1 / (step + 1) for step in range(8)]
    assert json.loads(server.upserts[0]["config"])["optimizer.lr"]["value"] == 0.1


def test_images_take_no_step_so_that_a_run_taken_further_loses_no_row(tmp_path, server):
    from PIL import Image

    pictures = [str(tmp_path / name) for name in ("curves.png", "plane.png", "film.gif")]
    for picture in pictures:
        Image.new("L", (8, 8)).save(picture)
    for first, last in ((0, 5), (4, 5), (4, 9)):  # new, resumed with nothing left, trained further
        done = python(tmp_path, server.url, "-c", TRACK, str(tmp_path / "run"), str(first), str(last), "30", *pictures)
        assert (done.stdout, done.stderr) == ("online abcd1234\nonline\n", "")
    rows = server.rows["abcd1234"]
    assert [row["_step"] for row in rows] == list(range(9))
    assert [row["Loss/train"] for row in rows] == [1 / (step + 1) for step in range(9)]
    assert [row["_step"] for row in rows if "curves" in row] == [4, 8]
    assert {"curves", "plane", "film_film"} <= rows[4].keys()


TYPED = ["project=p2", "entity=e2", "group=g2", "name=n2", "tags=[t2]"]
ENVIRONMENT = {
    "WANDB_PROJECT": "p1",
    "WANDB_ENTITY": "e1",
    "WANDB_RUN_GROUP": "g1",
    "WANDB_NAME": "n1",
    "WANDB_TAGS": "t1,u1",
    "WANDB_NOTES": "said",
    "WANDB_JOB_TYPE": "j1",
    "WANDB_RUN_ID": "id1",
    "WANDB_RESUME": "never",
}
OPEN = """
import sys
from pathlib import Path
from omegaconf import OmegaConf
from grokplane.record import Record, Recorder
from grokplane.record import tracking
options = Record(**OmegaConf.to_container(OmegaConf.from_dotlist(sys.argv[2:])))
for name in ("a", "b"):
    with Recorder(Path(sys.argv[1]) / name, {}, options) as recorder:
        print(recorder._tracker.mode, recorder.finish("finished")["wandb_id"], recorder._tracker.run_id)
"""


@pytest.mark.parametrize("typed", [[], TYPED], ids=["defaults", "typed"])
def test_what_was_typed_wins_over_the_environment_and_this_over_the_defaults(tmp_path, server, typed):
    own = environment(tmp_path, server.url) | ENVIRONMENT | {"WANDB_DIR": str(tmp_path / "elsewhere")}
    command = [sys.executable, "-c", OPEN, str(tmp_path), *typed]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    first, second = [line.split() for line in done.stdout.splitlines()]
    assert first == ["online", "id1", "id1"]  # one run alone can have it
    assert second[1] == second[2] != "id1"
    sent = server.upserts[0]
    assert [sent[name] for name in ("project", "entity", "groupName", "displayName")] == (
        ["p2", "e2", "g2", "n2"] if typed else ["p1", "e1", "g1", "n1"]
    )
    assert sent["tags"] == (["t2"] if typed else ["t1", "u1"])
    assert (sent["notes"], sent["jobType"]) == ("said", "j1")
    assert list((tmp_path / "elsewhere" / "wandb").glob("run-*-id1"))
    assert not (tmp_path / "a" / "wandb").exists()


def test_finishing_is_bounded_when_the_server_dies(tmp_path):
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    command = [sys.executable, "-c", TRACK, str(tmp_path / "run"), "0", "5", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environment(tmp_path, server.url), stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "online abcd1234\n"
        server.shutdown()
        thread.join()
        server.server_close()
        start = time.monotonic()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "broken\n"
        assert time.monotonic() - start < 10
        assert process.wait(timeout=20) == 0


def test_sync_rebuilds_a_run_online(tmp_path, server):
    run_id = make_run(tmp_path / "run")
    done = python(tmp_path, server.url, "-m", "grokplane.record.sync", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run'}: 4 rows to W&B run {run_id}, online\n"
    assert [(row["_step"], row["Loss/train"]) for row in server.rows[run_id]] == [(n, 1 / (n + 1)) for n in range(4)]
    assert server.upserts[0]["groupName"] == "g1"
    assert json.loads(server.upserts[0]["config"])["optimizer.lr"]["value"] == 0.1


def test_sync_rebuilds_a_run_offline_with_its_figures(tmp_path):
    from matplotlib import image
    from PIL import Image

    run_id = make_run(tmp_path / "run")
    (tmp_path / "run" / "figures").mkdir()
    image.imsave(tmp_path / "run" / "figures" / "curves.png", [[0.0, 1.0]])
    Image.new("L", (8, 8)).save(tmp_path / "run" / "figures" / "plane.gif")
    (tmp_path / "run" / "figures" / "curves.pdf").write_bytes(b"%PDF, which W&B does not show")
    done = python(
        tmp_path, "http://127.0.0.1:9", "-m", "grokplane.record.sync", str(tmp_path / "run"), "--mode=offline"
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{run_id}.wandb")
    assert b"Loss/train" in file.read_bytes()
    images = [path.name for path in (tmp_path / "run" / "wandb").glob("offline-run-*/files/media/images/*")]
    assert sorted(name.partition("_")[0] + Path(name).suffix for name in images) == ["curves.png", "plane.gif"]


def test_a_figure_that_is_none_is_left_out_of_a_sync(tmp_path):
    from PIL import Image

    make_run(tmp_path / "run")
    figures = tmp_path / "run" / "figures"
    (figures / "folder.png").mkdir(parents=True)
    (figures / "damaged.png").write_text("no picture")
    (figures / "loop.png").symlink_to("loop.png")
    (figures / "nowhere.png").symlink_to("none")
    Image.new("L", (8, 8)).save(figures / "whole.png")
    call = ["-m", "grokplane.record.sync", str(tmp_path / "run"), "--mode=offline"]
    done = python(tmp_path, "http://127.0.0.1:9", *call)
    lines = [
        line for line in done.stderr.splitlines() if not line.startswith("sending the run to W&B (")
    ]  # it may wait
    assert (done.returncode, len(lines)) == (0, 1), done.stderr
    assert "damaged.png is left out of W&B: it is not an image" in lines[0]
    (image,) = (tmp_path / "run" / "wandb").glob("offline-run-*/files/media/images/*")
    assert image.name.startswith("whole")


def test_sync_says_when_the_server_cannot_be_used_and_writes_nothing(tmp_path, server):
    make_run(tmp_path / "run")
    before = digest(tmp_path / "run")
    ways = [
        ("http://127.0.0.1:9", "0123456789" * 4, "Connection refused"),
        (server.url, "", "no API key is configured"),
    ]
    command = [sys.executable, "-m", "grokplane.record.sync", str(tmp_path / "run")]
    for url, key, why in ways:
        own = environment(tmp_path, url) | {"WANDB_API_KEY": key}
        done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert f"W&B at {url} cannot be used" in done.stderr
        assert why in done.stderr
        assert "not synced" in done.stderr
    own = environment(tmp_path, server.url) | {"WANDB_MODE": "sometimes"}
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "not synced: W&B cannot be used (1 validation error" in done.stderr
    assert digest(tmp_path / "run") == before


def test_sync_refuses_what_it_cannot_read_in_one_line_and_sends_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sync, "obstacle", lambda: pytest.fail("asked the server"))

    def refusal(name: str) -> str:
        assert sync.main([str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), err
        return err

    busy = Recorder(tmp_path / "busy", {}, Record(wandb="disabled"))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    assert f"RUN={tmp_path}/absent: no such folder" in refusal("absent")
    assert f"RUN={tmp_path}/file: must be the folder of a run" in refusal("file")
    assert f"RUN={tmp_path}/empty: must be the folder of a run, with a metrics.jsonl" in refusal("empty")
    assert "a process writes there (pid" in refusal("busy")
    busy.finish("finished")
    for name, file, text, told in (
        ("rows", "metrics.jsonl", '{"step": 0}\nnonsense\n{"step": 2}\n', "line 2"),
        ("step", "metrics.jsonl", '{"step": 0}\n{"Acc/test": 1}\n', "it has no step"),
        ("float", "metrics.jsonl", '{"step": 1.0}\n', "step is 1.0"),
        ("config", ".hydra/config.yaml", "a: [", "is damaged"),
        ("summary", "summary.json", "{", "is damaged"),
        ("record", ".hydra/config.yaml", "record: {tags: 3}", "record.tags=3"),
    ):
        make_run(tmp_path / name)
        (tmp_path / name / file).write_text(text)
        assert told in refusal(name)
    (tmp_path / "float").rename(tmp_path / "\x1b[31mred")
    assert f"RUN={tmp_path}/\\x1b[31mred: " in refusal("\x1b[31mred")


def test_sync_names_a_damaged_row_and_sends_nothing(tmp_path, capsys):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"ste\n{"step": 2}\n')
    assert sync.main([str(tmp_path), "--mode", "offline"]) == 2
    err = capsys.readouterr().err
    assert f"{tmp_path / 'metrics.jsonl'}: line 2 of 3 is damaged" in err
    assert err.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]
