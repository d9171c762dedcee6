"""NVIDIA's management library: the card behind a torch device, whatever CUDA_VISIBLE_DEVICES renumbered."""

from __future__ import annotations

from typing import Any


def card(device: Any) -> Any:
    """NVML's handle of a torch device, found by the card's own UUID.

    Raises:
        Exception: there is no NVML (nvidia-ml-py is not installed, no driver), or it does not know the card.
    """
    import pynvml
    import torch

    pynvml.nvmlInit()
    try:
        uuid = torch.cuda.get_device_properties(device).uuid
    except (AssertionError, AttributeError, RuntimeError):  # a torch without CUDA, or one that does not tell
        return pynvml.nvmlDeviceGetHandleByIndex(device.index or 0)
    return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
