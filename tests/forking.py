"""Processes for calls of the programs, forked from one that has imported torch and other packages already.

A call then is a process of its own, with its own arguments, folder, environment and signals, without the two seconds of
processor time that these imports take. Nothing of grokplane is imported before the fork. Calls whose environment Python
reads when it starts (PYTHONPATH and the like) get a new interpreter: see `command.py`.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = (
    "torch",
    "torch.func",
    "numpy",
    "hydra",
    "hydra.core.config_store",
    "hydra._internal.hydra",
    "omegaconf",
    "yaml",
    "tqdm",
    "filelock",
)
LARGEST = 2**20  # bytes of a request
_STARTING = threading.Lock()


class Forked:
    """A running call with the part of the interface of `subprocess.Popen` that the tests use.

    Args:
        arguments: the program and its arguments.
        cwd: its folder.
        env: its environment.
    """

    def __init__(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.args = list(arguments)
        self.returncode: int | Any = None  # as subprocess.Popen declares it
        request = json.dumps({"arguments": self.args, "cwd": str(cwd), "env": dict(env)}).encode()
        self._streams, writing = zip(*(os.pipe() for _ in range(2)), strict=True)
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.connect(_server())
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", writing))]
        self._channel.sendmsg([request], rights)
        for stream in writing:
            os.close(stream)
        self.pid = int(self._channel.recv(64))
        self._told = [bytearray(), bytearray()]
        pairs = zip(self._streams, self._told, strict=True)
        self._readers = [threading.Thread(target=_read, args=pair, daemon=True) for pair in pairs]
        for reader in self._readers:
            reader.start()

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._wait(0)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; standard output and standard error.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0, *map(bytes, self._told))
        for reader in self._readers:
            reader.join()
        out, err = (told.decode() for told in self._told)
        return out, err

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(None)
        self._channel.close()

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._channel.settimeout(timeout)
            try:
                status = int(self._channel.recv(64))
            except (BlockingIOError, TimeoutError):
                return None
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _read(stream: int, into: bytearray) -> None:
    with open(stream, "rb", buffering=0) as file:
        while found := file.read(65_536):
            into += found


def _server() -> str:
    """The address of this process's server, which the first call starts."""
    with _STARTING:  # several threads call
        return _started()


@cache
def _started() -> str:
    """The address of this process's server, which ends with it; it is abstract, so that no file is left behind."""
    name = f"grokplane-tests-{os.getpid()}"
    process: Any = subprocess.Popen(
        [sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    atexit.register(_end, process)
    return f"\0{name}"


def _end(server: subprocess.Popen[str]) -> None:
    with server:
        server.kill()


def serve(name: str) -> list[str]:
    """Fork a process for each request until standard input ends.

    Returns:
        In a forked process: the program and its arguments.
    """
    for module in IMPORTED:
        __import__(module)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"\0{name}")
    listening.listen(64)
    print("ready", flush=True)
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ, None)
        waiting.register(listening, selectors.EVENT_READ, None)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    os._exit(0)
                if key.data is not None:  # a process has ended
                    channel, pid = key.data
                    waiting.unregister(key.fileobj)
                    os.close(key.fd)
                    _tell(channel, str(os.waitpid(pid, 0)[1]))
                    channel.close()
                    continue
                channel = listening.accept()[0]
                request, rights, *_ = channel.recvmsg(LARGEST, socket.CMSG_SPACE(2 * 4))
                streams = array.array("i", rights[0][2])
                pid = os.fork()
                if pid == 0:
                    return _become(json.loads(request), streams)
                for stream in streams:
                    os.close(stream)
                _tell(channel, str(pid))
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (channel, pid))


def _tell(channel: socket.socket, text: str) -> None:
    with suppress(BrokenPipeError):  # whoever asked may be gone
        channel.send(text.encode())


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> list[str]:
    """Take the folder, environment and streams of a request; close everything else."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate([nothing, *streams]):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115 (for the life of the process)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    return request["arguments"]


def main() -> NoReturn:
    """Serve; in a forked process run its program as Python does."""
    sys.argv = serve(sys.argv[1])
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit(0)


if __name__ == "__main__":
    main()
