"""The operations by name: "kernels" (fast) or "reference" (plain NumPy), with the memory to compute in."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import Any

from minicnn.engine import profile
from minicnn.engine.numba_settings import NoCompilerError, NumbaSettingsError
from minicnn.engine.shards import WHOLE, Share
from minicnn.engine.workspace import FRESH, Workspace

if sys.platform == "emscripten":
    from minicnn.engine.without_blas import operations as reference
else:
    from minicnn.engine import reference

WITHOUT = 'compute with ops="reference" instead'
OPS = ("kernels", "reference")
MODULES: dict[str, Any] = {"reference": reference}  # and the kernels, once they are asked for


def expect_ops(name: str) -> str:
    """The name, if it is one of `OPS`. Raises ValueError for another."""
    if name not in OPS:
        raise ValueError(f"ops: expected one of {', '.join(OPS)}, got {name!r}")
    return name


class Ops:
    """All operations as attributes. A copy, also in another process, finds them again by name."""

    name: str
    share: Share

    def __init__(self, name: str, workspace: Workspace, user: str, share: Share) -> None:
        self.name, self._module = name, _module(expect_ops(name))
        self.share = share
        self._workspace, self._user = workspace, user
        self._measured = bool(user) and profile.wanted()

    @property
    def compiled(self) -> bool:
        """Whether these are the kernels."""
        return self._module is not reference

    def __getattr__(self, operation: str) -> Any:
        found = getattr(self._module, operation)
        if self.compiled and self._workspace is not FRESH:
            found = partial(found, workspace=self._workspace)
        if self._measured:
            found = profile.measured(found, self._user, operation)
        if self._workspace is not FRESH:  # one user's own, who asks at every step
            setattr(self, operation, found)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return Ops, (self.name, self._workspace, self._user, self.share)


def find_ops(name: str, workspace: Workspace = FRESH, user: str = "", share: Share = WHOLE) -> Ops:
    """All operations as attributes of one object: `find_ops("kernels").relu_forward(x)`.

    The kernels take the arrays that they return and work in from `workspace`: by default each call gets
    fresh memory; with a `Workspace` a call overwrites what the call before returned. The reference is
    plain NumPy and always allocates. Numba is imported only for the kernels. `user` is the name under
    which a profile lists what is computed, see `minicnn.engine.profile`. `share` says which images of a
    training batch they compute with, and how gradients are summed over them: `minicnn.engine.shards`.
    Where NUMBA_DISABLE_JIT is set, and in a browser, "kernels" are the reference, with a warning.
    Raises ValueError for an unknown name, ImportError where Numba is missing or cannot run.
    """
    return Ops(name, workspace, user, share)


def _module(name: str) -> Any:
    if name not in MODULES:
        try:
            from minicnn.engine import kernels

            MODULES[name] = kernels
        except NoCompilerError as error:
            warnings.warn(f"{error}: computing with the reference, plain NumPy", RuntimeWarning, stacklevel=4)
            MODULES[name] = reference
        except NumbaSettingsError as error:
            raise NumbaSettingsError(f"{error}; {WITHOUT}") from None
        except ImportError as error:
            raise ImportError(f"the kernels need Numba ({error}); {WITHOUT}") from None
    return MODULES[name]


class OpsMemory:
    """Memory of one user of operations, such as a layer in a network: reused from call to call."""

    user: str
    workspace: Workspace
    share: Share

    def __init__(self, user: str, share: Share = WHOLE) -> None:
        self.user, self.workspace, self.share = user, Workspace(), share
        self._bound: dict[str, Ops] = {}

    def ops(self, name: str) -> Ops:
        """`find_ops(name, workspace, user, share)`, bound once."""
        if name not in self._bound:
            self._bound[name] = find_ops(name, self.workspace, self.user, self.share)
        return self._bound[name]
