"""PyTorch: functions of tensors, subclasses of `torch.autograd.Function`, modules; on the CPU.

Torch is never imported from here: who passes something of it has imported it.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minicnn.checks.conventions.functions import argument_names, name_of
from minicnn.checks.conventions.reading import Reading


def of_torch(subject: Any, inputs: Sequence[Any]) -> bool:
    """Whether the subject is a torch module or Function, or some input a tensor."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor"):
        return False
    kinds = torch.nn.Module | torch.jit.ScriptFunction
    if isinstance(subject, kinds) or any(isinstance(a, torch.Tensor) for a in inputs):
        return True
    owner = getattr(subject, "__self__", subject)  # of Function.apply
    return _is_function(torch, owner)


def read_torch(subject: Any, inputs: Sequence[Any], training: bool) -> Reading:
    """Read it as a pair of functions; its backward is torch's, which calls the one written by hand.

    A module is copied. Its parameters are varied, its buffers and random numbers start anew at each forward.
    """
    torch: Any = sys.modules["torch"]
    values = [_to_numpy(torch, a) for a in inputs]
    named: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    if isinstance(subject, torch.nn.Module):
        module = copy.deepcopy(subject).cpu().double().train(training)
        named, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        names = argument_names(module.forward, len(inputs))

        def call(arguments: Sequence[Any], parameters: dict[str, Any]) -> Any:
            fresh = {name: b.clone() for name, b in buffers.items()}
            return torch.func.functional_call(module, {**parameters, **fresh}, tuple(arguments))
    else:
        owner: Any = subject if isinstance(subject, type) else getattr(subject, "__self__", None)
        function: Callable = owner.apply if owner is subject else subject
        if _is_function(torch, owner):
            names = argument_names(owner.forward, len(inputs) + 1)[1:]  # without ctx
            if _sets_up_context(torch, owner):
                names = argument_names(owner.forward, len(inputs))
        else:
            names = argument_names(function, len(inputs))

        def call(arguments: Sequence[Any], parameters: dict[str, Any]) -> Any:
            return function(*arguments)

    name = type(subject).__name__ if named or buffers else name_of(getattr(subject, "__self__", subject))
    state = torch.get_rng_state()

    def forward(*flat: Any) -> tuple[Any, Any]:
        # clone: a tensor of its own, which a function may change in place without harm
        leaves = [torch.from_numpy(a.copy()) if isinstance(a, np.ndarray) else a for a in flat]
        for leaf, a in zip(leaves, flat, strict=True):
            if isinstance(a, np.ndarray) and a.dtype.kind == "f":
                leaf.requires_grad_(True)
        arguments = [
            leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves[: len(values)]
        ]
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            y = call(arguments, dict(zip(named, leaves[len(values) :], strict=True)))
        outputs = tuple(y) if isinstance(y, tuple | list) else (y,)
        outputs = tuple(
            part for part in outputs if isinstance(part, torch.Tensor) and part.is_floating_point()
        )
        plain = tuple(part.detach().numpy().copy() for part in outputs)
        return (plain if len(plain) > 1 else plain[0]), (leaves, outputs)

    def backward(dy: Any, cache: Any) -> dict[str, Any]:
        leaves, outputs = cache
        dys = [torch.from_numpy(np.array(part)) for part in (dy if isinstance(dy, tuple) else (dy,))]
        varied = [(n, a) for n, a in zip(everything, leaves, strict=True) if _varied(torch, a)]
        used = [(y, d) for y, d in zip(outputs, dys, strict=True) if y.requires_grad]
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            found = torch.autograd.grad(
                [y for y, _ in used], [a for _, a in varied], [d for _, d in used], allow_unused=True
            )
        return {
            n: np.zeros(tuple(a.shape)) if g is None else g.detach().numpy()
            for (n, a), g in zip(varied, found, strict=True)
        }

    everything = [*names, *named]
    flat = [*values, *(p.detach().numpy().copy() for p in named.values())]
    floats = {
        n for n, a in zip(everything, flat, strict=True) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
    }
    return Reading(name, everything, flat, forward, backward, floats, notes=["read as: PyTorch, on the CPU"])


def _to_numpy(torch: Any, a: Any) -> Any:
    if not isinstance(a, torch.Tensor):
        return a
    return (
        a.detach().cpu().double().numpy().copy() if a.is_floating_point() else a.detach().cpu().numpy().copy()
    )


def _is_function(torch: Any, owner: Any) -> bool:
    return isinstance(owner, type) and issubclass(owner, torch.autograd.Function)


def _varied(torch: Any, a: Any) -> bool:
    return isinstance(a, torch.Tensor) and a.requires_grad


def _sets_up_context(torch: Any, function: Any) -> bool:
    """Whether forward takes no ctx, as setup_context does that."""
    return function.setup_context is not torch.autograd.Function.setup_context
