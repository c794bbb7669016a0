"""`arrays/<metric>.npz`: the arrays of a metric, one entry `<step>/<name>.npy` a log point, readable at every moment.

An npz file is a ZIP archive, whose directory stands at its end. Entries are appended where the directory was, and the
directory is written again when the run ends. A file without one (the run goes on, or was killed) is read entry by entry
from its start, so that a crash costs at most the entry that was being written; the next resumption completes the file.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from grokplane.files import atomic_file
from grokplane.options import ConfigError, one_of

if TYPE_CHECKING:
    import numpy as np

ARRAYS = "arrays"
# The header of an entry of a ZIP archive: signature, five fields, checksum, two sizes, lengths of name and extra field.
_HEADER = struct.Struct("<4s5H3L2H")
_ENTRY = b"PK\3\4"


class Arrays(NamedTuple):
    """An array of a run over its log points.

    Attributes:
        steps: number of updates done [T] int64, ascending.
        values: [T, ...].
    """

    steps: np.ndarray
    values: np.ndarray


def load_arrays(run: str | Path, metric: str) -> dict[str, Arrays]:
    """The arrays that a metric recorded in a run, by name; also of a run that goes on or was killed.

    Args:
        run: the run's folder.
        metric: its name in the config.

    Raises:
        FileNotFoundError: the run has no arrays of this metric.
        ConfigError: the file is damaged; an entry that a crash has torn is left out.
        ValueError: the arrays of one name have different shapes at different steps.
    """
    import numpy as np

    path = Path(run) / ARRAYS / f"{metric}.npz"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.npz"))
        raise FileNotFoundError(f"{path}: no such arrays; {one_of(metric, names) if names else 'the run has none'}")
    found: dict[str, tuple[list[int], list[np.ndarray]]] = {}
    for step, name, content in _read(path):
        steps, values = found.setdefault(name, ([], []))
        steps.append(step)
        values.append(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    return {name: Arrays(np.array(steps), np.stack(values)) for name, (steps, values) in found.items()}


class ArrayWriter:
    """Appends to the array files of a run; nothing is created before the first array."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ARRAYS
        self._open: dict[str, tuple[BinaryIO, zipfile.ZipFile]] = {}
        self._torn = False

    def append(self, step: int, arrays: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Write the arrays of a log point by metric and name, and flush them."""
        for metric, named in arrays.items():
            self._torn = True
            file, archive = self._opened(metric)
            for name, values in named.items():
                _add(archive, step, name, _npy(values))
            file.flush()
            self._torn = False

    def sync(self) -> None:
        """Make the arrays written so far survive a loss of power."""
        for file, _ in self._open.values():
            os.fsync(file.fileno())

    def close(self) -> None:
        """Complete and close the files; closing twice does nothing."""
        while self._open:
            _, (file, archive) = self._open.popitem()
            for one in (archive, file):
                try:
                    one.close()
                except OSError:  # the rest of an array that could not be written, which `append` has reported
                    if not self._torn:
                        raise

    def _opened(self, metric: str) -> tuple[BinaryIO, zipfile.ZipFile]:
        if metric not in self._open:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{metric}.npz"
            file = open(path, "r+b" if path.exists() else "x+b")  # noqa: SIM115 (open for as long as the run lasts)
            self._open[metric] = file, zipfile.ZipFile(file, "a")
        return self._open[metric]


def rewind_arrays(folder: Path, step: int) -> None:
    """Drop, atomically, the arrays of `step` and later steps and a torn last entry; a resumed run writes them again.

    Raises:
        ConfigError: a file is damaged; it stays as it is.
    """
    for path in (folder / ARRAYS).glob("*.npz"):
        with atomic_file(path) as file, zipfile.ZipFile(file, "w") as archive:
            for earlier, name, content in _read(path):
                if earlier < step:
                    _add(archive, earlier, name, content)
            empty = not archive.namelist()
        if empty:
            path.unlink()


def _add(archive: zipfile.ZipFile, step: int, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"{step}/{name}.npy"), content)


def _npy(values: np.ndarray) -> bytes:
    import numpy as np

    content = io.BytesIO()
    np.lib.format.write_array(content, values, allow_pickle=False)
    return content.getvalue()


def _read(path: Path) -> Iterator[tuple[int, str, bytes]]:
    """Step, name and content of every whole entry, in the order of writing."""
    with open(path, "rb") as file:
        try:
            for entry, content in _entries(file):
                step, _, name = entry.partition("/")
                yield int(step), name.removesuffix(".npy"), content
        except (ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            why = f"{path} is damaged ({error}): delete it, or the run's folder"
            raise ConfigError("hydra.run.dir", path.parents[1], why) from error


def _entries(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:  # no directory yet
        file.seek(0)
        yield from _scanned(file)
        return
    for info in archive.infolist():
        yield info.filename, archive.read(info)


def _scanned(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Entries from the start of the file up to the first one that is not whole.

    Raises:
        ValueError: a damaged entry with another one behind it: nothing is lost in silence.
    """
    while len(header := file.read(_HEADER.size)) == _HEADER.size and header.startswith(_ENTRY):
        fields: tuple[Any, ...] = _HEADER.unpack(header)
        checksum, _, size, length, extra = fields[6:]
        name = file.read(length)
        file.seek(extra, os.SEEK_CUR)
        content = file.read(size)
        if zlib.crc32(content) != checksum:  # torn; the header itself gets its checksum after the content
            if file.read(len(_ENTRY)) == _ENTRY:
                raise ValueError(f"wrong checksum of {name.decode(errors='replace')}")
            return
        yield name.decode(), content
