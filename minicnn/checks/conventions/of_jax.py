"""JAX: functions of arrays, with `custom_vjp` or without, on the CPU.

JAX is never imported from here: who passes something of it has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from minicnn.checks.conventions.functions import argument_names, name_of
from minicnn.checks.conventions.reading import Reading


def of_jax(subject: Any, inputs: Sequence[Any]) -> bool:
    """Whether the subject is a function that JAX has made, or a JAX array is among the inputs."""
    jax: Any = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "Array"):
        return False
    if any(isinstance(a, jax.Array) for a in jax.tree_util.tree_leaves(list(inputs))):
        return True
    return type(subject).__module__.split(".")[0] in ("jax", "jaxlib")


def read_jax(subject: Any, inputs: Sequence[Any]) -> Reading:
    """Read it as a pair of functions; its backward is `jax.vjp`, which calls the one written by hand.

    Inputs and outputs may be trees (dictionaries, lists, tuples) of arrays.
    """
    jax: Any = sys.modules["jax"]
    tree: Any = jax.tree_util
    found, structure = tree.tree_flatten_with_path(tuple(inputs))
    arguments = argument_names(subject, len(inputs))
    names = [arguments[path[0].idx] + tree.keystr(path[1:]) for path, _ in found]
    values = [_to_numpy(jax, leaf) for _, leaf in found]
    varied = [k for k, a in enumerate(values) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]

    def forward(*flat: Any) -> tuple[Any, Any]:
        def of_floats(*floats: Any) -> Any:
            leaves = list(flat)
            for k, a in zip(varied, floats, strict=True):
                leaves[k] = a
            return subject(*tree.tree_unflatten(structure, leaves))

        with _double(jax), jax.default_device(jax.devices("cpu")[0]):
            y, vjp = jax.vjp(of_floats, *(jax.numpy.asarray(flat[k]) for k in varied))
        outputs, form = tree.tree_flatten(y)
        plain = tuple(map(np.array, outputs))
        return (plain if len(plain) > 1 else plain[0]), (vjp, form)

    def backward(dy: Any, cache: Any) -> dict[str, Any]:
        vjp, form = cache
        parts = dy if isinstance(dy, tuple) else (dy,)
        with _double(jax), jax.default_device(jax.devices("cpu")[0]):
            claimed = vjp(tree.tree_unflatten(form, map(jax.numpy.asarray, parts)))
        return {names[k]: np.array(g) for k, g in zip(varied, claimed, strict=True)}

    floats = {names[k] for k in varied}
    note = "read as: JAX, on the CPU"
    return Reading(name_of(subject), names, values, forward, backward, floats, notes=[note])


def _double(jax: Any) -> Any:
    """A context in which JAX computes in float64."""
    try:
        return jax.enable_x64(True)
    except (AttributeError, TypeError):  # its older name
        return import_module("jax.experimental").enable_x64()


def _to_numpy(jax: Any, a: Any) -> Any:
    if not isinstance(a, jax.Array):
        return a
    a = np.array(a)
    return a.astype(np.float64) if a.dtype.kind == "f" else a
