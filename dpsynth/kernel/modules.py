"""Which modules may be trained, and how they are run on real rows: listed layers only, each of which treats rows apart.

No `forward` of a module is called. Rows are columns here: in a matrix of shape (features, rows) every row is a lane of
its own in sums and matrix products, and meets the same operations in the same order wherever it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
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
_PLAIN = (bool, int, float, str, tuple)
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
        return reduce(lambda inner, key: inner._modules[key], self.name.split(".") if self.name else [], module)


def trained_layers(module: Any) -> tuple[Layer, ...]:
    """The layers of `module` whose parameters are trained, in order.

    Raises:
        ValueError: a layer that is not listed, hooks, buffers, shared layers or parameters, mixed types or devices,
            partly frozen layers, or nothing to train.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"a module to train is a torch.nn.Module, got {type(module).__name__}")
    named = list(_walk(module))
    if len({id(each) for _, each in named}) < len(named):
        raise ValueError("a layer occurs twice in the module; give each place a layer of its own")
    layers = []
    for name, each in named:
        _listed(name, each)
        trained = [p.requires_grad for p in each._parameters.values() if p is not None]
        if any(trained) and not all(trained):
            raise ValueError(f"layer {name!r} is frozen in part; freeze all of its parameters or none")
        if any(trained):
            layers.append(Layer(name, type(each) is nn.LayerNorm))
    parameters: list[Tensor] = [p for _, each in named for p in each._parameters.values() if p is not None]
    if len({id(p) for p in parameters}) < len(parameters):
        raise ValueError("two layers share a parameter; give each its own")
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(f"a module must have 1 to {MAX_LAYERS} layers to train, got {len(layers)}")
    masks = [mask for _, each in named for mask in each._buffers.values()]
    kinds = {(p.dtype, p.device) for p in (*parameters, *masks)}
    if len(kinds) > 1 or parameters[0].dtype != torch.float32:
        raise ValueError("all parameters must be float32, on one device")
    return tuple(layers)


def copied(module: Any) -> Any:
    """A module of the same layers and parameters, and of nothing else that was attached to it: no object of a generator
    can hold a part of the copy, or be reached from it."""
    copy: Any = object.__new__(type(module))
    nn.Module.__init__(copy)
    copy.__dict__.update({name: value for name, value in vars(module).items() if type(value) in _PLAIN})
    for name, parameter in module._parameters.items():
        held = None if parameter is None else nn.Parameter(torch.clone(parameter).detach(), parameter.requires_grad)
        copy._parameters[name] = held
    copy._buffers.update({name: torch.clone(buffer).detach() for name, buffer in module._buffers.items()})
    copy._modules.update({name: copied(part) for name, part in module._modules.items()})
    return copy


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
        return run(module._modules[each], given, trace, f"{name}.{each}" if name else each)

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
        activated: Tensor = kind.forward(module, columns)  # not `module(columns)`, which runs everybody's hooks
        return activated
    if kind is nn.LayerNorm:
        if len(columns) != module.normalized_shape[0]:
            raise ValueError(f"layer {name!r} normalises {module.normalized_shape[0]} features, got {len(columns)}")
        centred = columns - columns.mean(dim=0)
        columns = centred / torch.sqrt(centred.square().mean(dim=0) + module.eps)
        found = columns if module.weight is None else columns * module.weight[:, None]
        found = found if module.bias is None else found + module.bias[:, None]
    else:
        weight = module.weight * module.mask if kind is MaskedLinear else module.weight
        found = weight @ columns if module.bias is None else torch.addmm(module.bias[:, None], weight, columns)
    trace.given[name], trace.found[name] = columns.detach(), found
    return found


def _walk(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, module
    for key, part in module._modules.items() if isinstance(module, nn.Module) else ():
        yield from _walk(part, f"{name}.{key}" if name else key)


def _listed(name: str, layer: Any) -> None:
    kind = type(layer)
    if kind not in LISTED:
        allowed = ", ".join(sorted(each.__name__ for each in LISTED))
        raise ValueError(
            f"layer {name!r} is a {kind.__name__}, which is not known to treat rows apart; allowed are {allowed}"
        )
    if any(type(key) is not str for key in layer._modules):
        raise ValueError(f"layer {name!r} has parts whose names are not plain text")
    own = vars(layer).keys()
    if own & {*layer._parameters, *layer._buffers, *layer._modules}:
        raise ValueError(f"layer {name!r} has attributes in the place of its parameters or parts; remove them")
    if "forward" in own or any(getattr(layer, hooks) for hooks in _HOOKS):
        raise ValueError(f"layer {name!r} has hooks or a forward of its own; give the plain layer")
    if getattr(layer, "inplace", False):
        raise ValueError(f"layer {name!r} works in place; leave inplace out")
    if kind is nn.LayerNorm and len(layer.normalized_shape) != 1:
        raise ValueError(f"layer {name!r} normalises over {len(layer.normalized_shape)} axes; only the last is a row's")
    buffers = sorted(layer._buffers)
    if buffers != (["mask"] if kind is MaskedLinear else []):
        raise ValueError(f"layer {name!r} has the buffers {buffers}, which might keep something of a row")
    _shaped(name, layer)


def _shaped(name: str, layer: Any) -> None:
    """Parameters are torch's own and as the layer's kind has them; a mask is of zeros and ones."""
    kind, held = type(layer), layer._parameters
    if list(held) != (["weight", "bias"] if kind in TRAINABLE else []):
        raise ValueError(f"layer {name!r} has the parameters {list(held)}, not those of a {kind.__name__}")
    if any(p is not None and type(p) is not nn.Parameter for p in held.values()):
        raise ValueError(f"layer {name!r} has parameters that are not plain torch.nn.Parameter")
    if kind not in TRAINABLE:
        return
    weight, bias = (None if p is None else tuple(p.shape) for p in held.values())
    if kind is nn.LayerNorm:
        axes = layer.normalized_shape
        fits = type(axes) is tuple and type(axes[0]) is int and weight in (None, axes) and bias in (None, weight)
    else:
        fits = weight is not None and len(weight) == 2 and bias in (None, weight[:1])
    if not fits:
        raise ValueError(f"layer {name!r} has weights of shape {weight} and biases of {bias}, which do not fit")
    if kind is MaskedLinear and not _mask_fits(layer._buffers["mask"], weight):
        raise ValueError(f"layer {name!r} has a mask that is not zeros and ones in the shape of its weights")


def _mask_fits(mask: Any, shape: Any) -> bool:
    return type(mask) is Tensor and tuple(mask.shape) == shape and bool(((mask == 0) | (mask == 1)).all())


__all__ = ["LISTED", "MAX_LAYERS", "Layer", "Trace", "copied", "run", "trained_layers"]
