"""Where a network is trained: on the processor, or on a GPU."""

from __future__ import annotations

from typing import Any

from accountants import PlanError


def devices(device: str) -> list[Any]:
    """The torch devices that a setting stands for, in the order in which they are tried.

    Args:
        device: ``cpu``, ``cuda`` (a GPU, of NVIDIA or, as PyTorch names it, AMD), or ``auto``: a GPU where one is
            present and its arithmetic is as `numerics` asks, otherwise the processor.

    Raises:
        PlanError: a GPU is asked for and none is present. Nothing was looked at.
    """
    import torch

    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise PlanError("device is cuda and PyTorch finds no GPU here; train with device=cpu, or auto")
    named = {"cpu": ["cpu"], "cuda": ["cuda"], "auto": ["cuda", "cpu"] if present else ["cpu"]}[device]
    return [torch.device(name) for name in named]


__all__ = ["devices"]
