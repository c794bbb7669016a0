"""Recording a run's results and reading them back. This package does not depend on training."""

from grokplane.record.arrays import Arrays, load_arrays
from grokplane.record.checkpoints import Checkpoints, NoCheckpoint, Saved
from grokplane.record.copying import copy_record
from grokplane.record.folder import FolderTaken, check_folder, claim
from grokplane.record.frames import find_runs, load, overrides, summaries
from grokplane.record.lock import FolderBusy, FolderLock, is_locked
from grokplane.record.options import Record
from grokplane.record.recorder import Recorder
from grokplane.record.summary import read_summary, status
from grokplane.record.wandb_runs import fetch

__all__ = [
    "Arrays",
    "Checkpoints",
    "FolderBusy",
    "FolderLock",
    "FolderTaken",
    "NoCheckpoint",
    "Record",
    "Recorder",
    "Saved",
    "check_folder",
    "claim",
    "copy_record",
    "fetch",
    "find_runs",
    "is_locked",
    "load",
    "load_arrays",
    "overrides",
    "read_summary",
    "status",
    "summaries",
]
