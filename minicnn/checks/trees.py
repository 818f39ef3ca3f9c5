"""Results that are tuples, lists or dictionaries of arrays, as a row of their leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The path of each leaf, "[0]['W']", and the leaf. A list of nothing but numbers is a leaf."""
    if isinstance(tree, dict):
        for key, part in tree.items():
            yield from leaves(part, f"{path}[{key!r}]")
    elif is_branch(tree):
        for k, part in enumerate(tree):
            yield from leaves(part, f"{path}[{k}]")
    else:
        yield path, tree


def is_branch(tree: Any) -> bool:
    """Whether it is a tuple, a list or a dictionary that holds arrays."""
    if isinstance(tree, dict):
        return True
    if not isinstance(tree, tuple | list):
        return False
    return any(is_branch(part) or isinstance(part, np.ndarray | np.generic) or part is None for part in tree)


def rebuilt(tree: Any, parts: Iterator[Any]) -> Any:
    """The same structure with other leaves, taken from `parts` in order."""
    if isinstance(tree, dict):
        return {key: rebuilt(part, parts) for key, part in tree.items()}
    if is_branch(tree):
        built = [rebuilt(part, parts) for part in tree]
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*built)
        return tuple(built) if isinstance(tree, tuple) else built
    return next(parts)
