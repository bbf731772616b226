"""A trained module as plain arrays, run without PyTorch: whoever samples from a model needs none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Layers by name and how they are joined.

    Attributes:
        layout: JSON: ``["linear", name]``, ``["layer_norm", name, eps]``, ``["relu"]``, ``["leaky_relu", slope]``,
            ``["tanh"]``, ``["silu"]``, or ``[kind, parts]`` of kind ``sequential``, ``residual``, ``parallel``.
        arrays: ``name.weight``, shape (outputs, inputs), and ``name.bias`` of each layer, float32.

    Raises:
        ValueError: another layer, or one without its arrays.
    """

    layout: list[Any]
    arrays: Mapping[str, Floats]

    def __post_init__(self) -> None:
        _check(self.layout, self.arrays)

    @classmethod
    def of(cls, module: Any) -> Network:
        """From a module of `dpsynth.layers`, with masked weights as zeros.

        Raises:
            ValueError: a layer that is none of the above.
        """
        arrays: dict[str, Floats] = {}
        return cls(_layout(module, "", arrays), arrays)

    def __call__(self, rows: Floats) -> Floats:
        """Shape (rows, inputs) to (rows, outputs)."""
        return _run(self.layout, self.arrays, rows)


def _layout(module: Any, name: str, arrays: dict[str, Floats]) -> list[Any]:
    from torch import nn

    from dpsynth.layers import MaskedLinear, Parallel, Residual

    kinds = {nn.Sequential: "sequential", Residual: "residual", Parallel: "parallel"}
    plain = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.SiLU: "silu"}
    kind = type(module)
    if kind in kinds:
        return [
            kinds[kind],
            [_layout(part, f"{name}.{each}" if name else each, arrays) for each, part in module.named_children()],
        ]
    if kind in plain:
        return [plain[kind]]
    if kind is nn.LeakyReLU:
        return ["leaky_relu", float(module.negative_slope)]
    if kind not in (nn.Linear, MaskedLinear, nn.LayerNorm):
        raise ValueError(f"a {kind.__name__} cannot be stored")
    weight = module.weight * module.mask if kind is MaskedLinear else module.weight
    for part, value in (("weight", weight), ("bias", module.bias)):
        if value is not None:
            arrays[f"{name}.{part}"] = value.detach().cpu().numpy().astype(np.float32).copy()
    return ["layer_norm", name, float(module.eps)] if kind is nn.LayerNorm else ["linear", name]


def _check(layout: Any, arrays: Mapping[str, Floats]) -> None:
    match layout:
        case ["sequential" | "residual" | "parallel", [*parts]]:
            for part in parts:
                _check(part, arrays)
        case ["linear", str(name)] | ["layer_norm", str(name), float()]:
            if f"{name}.weight" not in arrays:
                raise ValueError(f"layer {name!r} has no weight")
        case ["relu" | "tanh" | "silu"] | ["leaky_relu", float()]:
            pass
        case _:
            raise ValueError(f"no layer is written {layout!r:.60}")


def _run(layout: list[Any], arrays: Mapping[str, Floats], rows: Floats) -> Floats:
    found: Floats
    match layout:
        case ["sequential" | "residual" as kind, parts]:
            found = rows
            for part in parts:
                found = _run(part, arrays, found)
            found = rows + found if kind == "residual" else found
        case ["parallel", parts]:
            found = np.sum([_run(part, arrays, rows) for part in parts], axis=0, dtype=np.float32)
        case ["linear", name]:
            found = rows @ arrays[f"{name}.weight"].T + arrays.get(f"{name}.bias", np.float32(0))
        case ["layer_norm", name, eps]:
            centred = rows - rows.mean(axis=1, keepdims=True)
            scaled = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(eps))
            found = scaled * arrays[f"{name}.weight"] + arrays.get(f"{name}.bias", np.float32(0))
        case ["relu"]:
            found = np.maximum(rows, np.float32(0))
        case ["leaky_relu", slope]:
            found = np.where(rows > 0, rows, rows * np.float32(slope))
        case ["tanh"]:
            found = np.tanh(rows)
        case _:  # silu
            found = rows / (1 + np.exp(-np.clip(rows, -80, 80)))
    return found


__all__ = ["Floats", "Network"]
