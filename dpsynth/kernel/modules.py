"""Which modules may be trained, and how they are run on real rows: listed layers only, each of which treats rows apart.

No `forward` of a module is called. Rows are columns here: in a matrix of shape (features, rows) every row is a lane of
its own in sums and matrix products, and meets the same operations in the same order wherever it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from dpsynth.layers import MaskedLinear, Parallel, Residual

TRAINABLE = (nn.Linear, MaskedLinear, nn.LayerNorm)
ACTIVATIONS = (
    *(nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Softplus, nn.Softsign, nn.Hardtanh, nn.LogSigmoid),
)
CONTAINERS = (nn.Sequential, nn.ModuleDict, Residual, Parallel)
LISTED = (*TRAINABLE, *ACTIVATIONS, *CONTAINERS)

MAX_LAYERS = 60
"""Most trainable layers; with it every integer that is compared fits 64 bits (docs/proofs/dp_sgd.md)."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True, slots=True)
class Layer:
    """A trained layer: where it stands in the module, and its kind.

    Attributes:
        name: its path in the module.
        normalising: a `LayerNorm`; otherwise linear.
    """

    name: str
    normalising: bool

    def of(self, module: Any) -> Any:
        """The layer of that name in a module or its copy."""
        return module.get_submodule(self.name)


def trained_layers(module: Any) -> tuple[Layer, ...]:
    """The layers of `module` whose parameters are trained, in order.

    Raises:
        ValueError: a layer that is not listed, hooks, buffers, shared layers or parameters, mixed types or devices,
            partly frozen layers, or nothing to train.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"a module to train is a torch.nn.Module, got {type(module).__name__}")
    named = list(module.named_modules(remove_duplicate=False))
    if len({id(each) for _, each in named}) < len(named):
        raise ValueError("a layer occurs twice in the module; give each place a layer of its own")
    layers = []
    for name, each in named:
        _listed(name, each)
        trained = [p.requires_grad for p in each.parameters(recurse=False)]
        if any(trained) and not all(trained):
            raise ValueError(f"layer {name!r} is frozen in part; freeze all of its parameters or none")
        if any(trained):
            layers.append(Layer(name, type(each) is nn.LayerNorm))
    parameters: list[Tensor] = [p for _, p in module.named_parameters(remove_duplicate=False)]
    if len({id(p) for p in parameters}) < len(parameters):
        raise ValueError("two layers share a parameter; give each its own")
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(f"a module must have 1 to {MAX_LAYERS} layers to train, got {len(layers)}")
    kinds = {(p.dtype, p.device) for p in chain(parameters, module.buffers())}
    if len(kinds) > 1 or parameters[0].dtype != torch.float32:
        raise ValueError("all parameters must be float32, on one device")
    return tuple(layers)


@dataclass(slots=True)
class Trace:
    """What went through the trained layers of one run: all that their gradients need.

    Attributes:
        given: by layer name, what a linear layer got, or a normalising one normalised; shape (inputs, rows).
        found: by layer name, what came out; shape (outputs, rows).
    """

    given: dict[str, Tensor] = field(default_factory=dict)
    found: dict[str, Tensor] = field(default_factory=dict)


def run(module: Any, columns: Tensor, trace: Trace, name: str = "") -> Tensor:
    """What a listed module makes of rows: shape (inputs, rows) to (outputs, rows)."""

    def inner(each: str, given: Tensor) -> Tensor:
        return run(getattr(module, each), given, trace, f"{name}.{each}" if name else each)

    kind, parts = type(module), list(module._modules)
    if kind is nn.ModuleDict:
        raise ValueError("a ModuleDict is not run as a whole; only a loss that names its parts takes one")
    if kind in CONTAINERS:
        if kind is Parallel:
            total = inner(parts[0], columns)
            for each in parts[1:]:
                total = total + inner(each, columns)
            return total
        found = columns
        for each in parts:
            found = inner(each, found)
        return columns + found if kind is Residual else found
    if kind not in TRAINABLE:
        activated: Tensor = module(columns)
        return activated
    if kind is nn.LayerNorm:
        centred = columns - columns.mean(dim=0)
        columns = centred / torch.sqrt(centred.square().mean(dim=0) + module.eps)
        found = columns if module.weight is None else columns * module.weight[:, None]
        found = found if module.bias is None else found + module.bias[:, None]
    else:
        weight = module.weight * module.mask if kind is MaskedLinear else module.weight
        found = weight @ columns if module.bias is None else torch.addmm(module.bias[:, None], weight, columns)
    trace.given[name], trace.found[name] = columns.detach(), found
    return found


def _listed(name: str, layer: Any) -> None:
    kind = type(layer)
    if kind not in LISTED:
        allowed = ", ".join(sorted(each.__name__ for each in LISTED))
        raise ValueError(
            f"layer {name!r} is a {kind.__name__}, which is not known to treat rows apart; allowed are {allowed}"
        )
    if "forward" in vars(layer) or any(getattr(layer, hooks) for hooks in _HOOKS):
        raise ValueError(f"layer {name!r} has hooks or a forward of its own; give the plain layer")
    if getattr(layer, "inplace", False):
        raise ValueError(f"layer {name!r} works in place; leave inplace out")
    if kind is nn.LayerNorm and len(layer.normalized_shape) != 1:
        raise ValueError(f"layer {name!r} normalises over {len(layer.normalized_shape)} axes; only the last is a row's")
    buffers = {n for n, _ in layer.named_buffers(recurse=False)}
    if buffers and kind is not MaskedLinear:
        raise ValueError(f"layer {name!r} has the buffers {sorted(buffers)}, which might keep something of a row")


__all__ = ["ACTIVATIONS", "CONTAINERS", "LISTED", "MAX_LAYERS", "TRAINABLE", "Layer", "Trace", "run", "trained_layers"]
