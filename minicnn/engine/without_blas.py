"""The reference for a NumPy without BLAS, as in a browser: the same functions, another product of matrices.

There `a @ b` walks down the columns of b, which for a wide b misses the cache at every number. The loops of
`numpy.einsum` walk along rows: in Pyodide they multiply the tutorial's matrices 1.4 to 18 times as fast.
With a BLAS, `a @ b` is faster by far, so elsewhere this module is not used.

`operations` is compiled from the source of `minicnn.engine.reference`, in which every `a @ b` and every
`np.matmul(a, b)` becomes `product(a, b)`.
"""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import numpy as np

from minicnn.engine import reference


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b: a [..., K], b [K, F] -> [..., F], written to `out` if it is given."""
    return np.einsum("...k,kf->...f", a, b, out=out)


class _Products(ast.NodeTransformer):
    """Replaces products of matrices by calls of `product`."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.MatMult):
            return ast.Call(ast.Name("product", ast.Load()), [node.left, node.right], [])
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        return ast.Name("product", ast.Load()) if ast.unparse(node) == "np.matmul" else node


_tree = _Products().visit(ast.parse(inspect.getsource(reference)))
operations: ModuleType = ModuleType(reference.__name__)  # in place of `minicnn.engine.reference`
operations.__dict__["product"] = product
exec(compile(ast.fix_missing_locations(_tree), reference.__file__, "exec"), operations.__dict__)
