"""The state of PyTorch under which rows are computed: the same in the probe and in every step, and nobody looks on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

_NO_HOOKS = "no hooks on saved tensors inside the kernel"


@contextmanager
def settled(device: torch.device) -> Iterator[None]:
    """What a caller may have set counts for nothing inside, and is as it was afterwards.

    One thread: with several, elementwise operations are cut up by place, and the ends of the cuts run other code than
    their middle, which differs in the last bit for some values. No anomaly mode: it raises where a row overflows.
    Neither modes nor subclasses of `torch.overrides`, nor hooks on what autograd keeps: they would be shown rows.
    """
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    onednn, flushed = torch._C._get_mkldnn_enabled(), sys.float_info.min / 2.0 == 0.0
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, threads)
        stack.callback(torch.set_float32_matmul_precision, precision)
        stack.callback(torch._C._set_mkldnn_enabled, onednn)
        stack.callback(torch.set_flush_denormal, flushed)
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("highest")
        torch._C._set_mkldnn_enabled(False)
        torch.set_flush_denormal(False)
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(torch._C.DisableTorchFunction())
        stack.enter_context(torch.autograd.graph.disable_saved_tensors_hooks(_NO_HOOKS))
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        yield


def emulated(device: torch.device) -> bool:
    """Whether a GPU's matrix products are told, from outside, to be put together from shorter numbers.

    How short then follows from the values (cuBLAS 13, "Floating Point Emulation"), so that no probe can tell.
    """
    return device.type == "cuda" and any(
        name.startswith("CUBLAS_EMULAT") and value != "0" for name, value in os.environ.items()
    )


def refuse_onlookers() -> None:
    """Before any row: what `settled` cannot switch off must not be on.

    Raises:
        ValueError: a dispatch mode, or hooks on saved tensors, around a step.
    """
    if torch._C._len_torch_dispatch_stack():
        raise ValueError("a torch dispatch mode is active, which would be shown rows; take the steps outside of it")
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(_NO_HOOKS):
            return
    except RuntimeError:
        pass
    raise ValueError("saved_tensors_hooks are active, which would be shown rows; take the steps outside of them")


__all__ = ["emulated", "refuse_onlookers", "settled"]
