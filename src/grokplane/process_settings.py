"""The settings of a process that grokplane changes: all of them, in one function that programs call.

This module is on the floor: it imports nothing of the rooms.
"""

from __future__ import annotations

import ctypes
import sys

import torch

# Numbers of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def set_up_process(threads: int) -> None:
    """Change the settings of this process that decide the speed and the last bits of grokplane's numbers.

    Importing grokplane and building a `Stack` change none of them. The function sets:

    - the number of CPU threads of torch: sums over another number of threads have other last bits;
    - cuDNN: no TF32, and deterministic algorithms only, so that convolutions are as exact as all else and equal in
      every run;
    - glibc's allocator: freed memory stays with the process;
    - torch.optim: its methods do not import torch's compiler.

    Args:
        threads: number of CPU threads, at least 1.
    """
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    _keep_freed_memory()
    _skip_the_compiler()


def _keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, if the C library is glibc.

    Otherwise every large tensor of a training step is fetched from the kernel, zeroed page by page and given back: a
    fifth of the step of 16 stacked Transformers.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if change is not None:
        change(_M_ARENA_MAX, 1)  # what one thread frees another may use
        change(_M_MMAP_MAX, 0)
        change(_M_TRIM_THRESHOLD, -1)


def _skip_the_compiler() -> None:
    """Let the methods of `torch.optim` run without importing torch's compiler, which takes a second and is not used.

    These methods are wrapped so that compiled graphs leave them out. The wrapper imports `torch._dynamo` at its first
    call unless it finds the attribute that this function sets. Versions of torch without such wrappers stay unchanged.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if method is not None and "torch._dynamo" not in sys.modules:
            setattr(method, "__dynamo_disable", method)
