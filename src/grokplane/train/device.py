"""The device on which a stack is trained."""

import torch

from grokplane.options import ConfigError


def find_device(name: str) -> torch.device:
    """The device with this name.

    Raises:
        ConfigError: this machine has no such device; the message lists the devices that it has.
    """
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{name} is not a device that this project trains on")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):  # a torch that was built without the device raises the latter
        here = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ConfigError("train.device", name, f"no such device here; allowed: {', '.join(here)}") from None
    return device
