"""Is this backward the derivative of this forward? Difference quotients decide.

    report = minicnn.gradient_check(layer, x)
    print(report)
    report.assert_ok()

Take L = sum(dy * y) with a random dy. Then backward(dy) claims to be dL/dx, and for each entry of x, h
small, L itself has an opinion:

    a = what backward says      n = (L(x + h) - L(x - h)) / 2h      error = |a - n| / max(|a|, |n|, floor)

and likewise for each parameter. What it takes to trust the answer:

- float64. In float32 rounding alone makes errors of 1e-2, as large as those of many bugs.
- A random dy. With dy = 1 every softmax has gradient 0, and transposed weights can look right.
- Kinks and ties. Where a ReLU is at 0, or two numbers of a pool window are equal, there is no
  derivative: n is a mean of two slopes, and a correct backward "fails". Half the step tells: on a
  smooth function the gap between the slopes to the right and to the left is halved, on a kink it stays.
  A kink nearby is got around by a smaller step.
- Errors of n itself. They change with the step, an error of backward does not. Entries where this leaves
  it open who is wrong, and those on kinks, are counted and not compared; if too few are left, the
  verdict is neither "right" nor "wrong".
- The same random numbers at each forward, or L is another function each time.

Source: Goodfellow, Bengio, Courville: Deep Learning (2016), section 11.5.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from minicnn.engine.kernels.buffers import Buffers
from minicnn.engine.layers import Layer
from minicnn.engine.network import Sequential

STEP = 1e-5
TOLERANCE = 1e-6
FLOOR = 1e-3  # gradients below this share of the largest in their array are compared on that scale
ENOUGH = 0.05  # share of entries that must be away from kinks for a verdict
HALVINGS = 6  # of the step, before an error is believed
STAYS = 0.03  # an error of the gradient changes by less than this share of it meanwhile
ROUNDING = 8 * np.finfo(np.float64).eps  # of one output, relative


class GradientError(AssertionError):
    """What `GradientReport.assert_ok` raises; its message is the whole report."""


# --- the report ----------------------------------------------------------------------------------


@dataclass
class ArrayReport:
    """How one gradient compares with difference quotients: of an input or of a parameter.

    error is the largest relative error, at the entry (or the random direction) `where`; there
    backward says `analytic` and the difference quotient is `numerical`.
    """

    name: str
    shape: tuple[int, ...]
    compared: int = 0  # entries away from kinks
    kinks: int = 0  # entries on a kink or tie, or drowned by rounding: not compared
    directions: int = 0  # random directions compared
    error: float = 0.0
    where: tuple[int, ...] | str = ()
    analytic: float = 0.0
    numerical: float = 0.0
    largest: float = 0.0  # of all |a| and |n| compared
    tolerance: float = field(default=TOLERANCE, repr=False)

    @property
    def decided(self) -> bool:
        """Whether enough entries lie away from kinks for a verdict."""
        return self.compared >= max(1, ENOUGH * (self.compared + self.kinks))

    @property
    def verdict(self) -> str:
        """One of "ok", "WRONG", "kinks" (too few entries left to say), "zero" (nothing was tested)."""
        if not self.error <= self.tolerance:  # so that NaN is wrong
            return "WRONG"
        if not self.decided:
            return "kinks"
        return "ok" if self.largest > 0 else "zero"

    def compare(
        self,
        where: tuple[int, ...] | str,
        analytic: float,
        numerical: float,
        floor: float,
        rounding: float,
    ) -> None:
        """Take one more pair of numbers into account; a difference of `rounding` is within the tolerance."""
        analytic, numerical = float(analytic), float(numerical)  # NumPy's would warn of infinity
        size = max(abs(analytic), abs(numerical))
        scale = float(max(size, floor) + rounding / self.tolerance)
        error = abs(analytic - numerical) / scale if size != 0 else 0.0
        if self.where == () or not (error <= self.error or np.isnan(self.error)):
            self.error, self.where = error, where
            self.analytic, self.numerical = analytic, numerical
        self.largest = max(self.largest, size)


@dataclass
class GradientReport:
    """The outcome of a gradient check: one `ArrayReport` for each input and parameter, and a verdict."""

    name: str
    arrays: list[ArrayReport]
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether every gradient is right, and was tested."""
        return all(array.verdict == "ok" for array in self.arrays)

    @property
    def wrong(self) -> bool:
        """Whether some gradient is wrong. Neither ok nor wrong: some could not be decided."""
        return any(array.verdict == "WRONG" for array in self.arrays)

    @property
    def error(self) -> float:
        """The largest relative error of all."""
        return float(np.max([array.error for array in self.arrays]))  # a NaN is the largest

    @property
    def kinks(self) -> int:
        """How many entries lie on a kink or tie (or drown in rounding) and were not compared."""
        return sum(array.kinks for array in self.arrays)

    def __getitem__(self, name: str) -> ArrayReport:
        """The report on the array called `name`. Raises KeyError if there is none."""
        for array in self.arrays:
            if array.name == name:
                return array
        raise KeyError(f"{name!r}: expected one of {[array.name for array in self.arrays]}")

    def assert_ok(self) -> None:
        """Raise GradientError, an AssertionError with the whole report, unless every gradient is right."""
        if not self.ok:
            raise GradientError(f"\n{self}")

    @property
    def verdict(self) -> str:
        """One sentence."""
        named = {
            verdict: ", ".join(a.name for a in self.arrays if a.verdict == verdict)
            for verdict in ("WRONG", "kinks", "zero")
        }
        if named["WRONG"]:
            return f"WRONG: backward is not the derivative of forward for {named['WRONG']}"
        if named["kinks"]:
            return (
                f"UNDECIDED: almost all entries of {named['kinks']} lie on a kink or tie, where there is no "
                "derivative, or drown in rounding; check at other values"
            )
        if named["zero"]:
            return (
                f"UNDECIDED: the gradient of {named['zero']} is zero everywhere, so nothing was tested; "
                "check at other values"
            )
        return f"ok: largest relative error {self.error:.1e}"

    def __str__(self) -> str:
        rows = [("array", "shape", "compared", "kinks", "error", "at", "backward", "quotient", "")]
        for a in self.arrays:
            total = int(np.prod(a.shape))
            compared = f"{a.compared} of {total}" + (f" + {a.directions} directions" if a.directions else "")
            where = a.where if isinstance(a.where, str) else ",".join(map(str, a.where))
            numbers = (f"{a.error:.1e}", where, f"{a.analytic:.8g}", f"{a.numerical:.8g}")
            shape = "x".join(map(str, a.shape)) or "number"
            rows.append((a.name, shape, compared, str(a.kinks), *numbers, a.verdict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"gradient check of {self.name}"]
        lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, self.verdict, *filter(None, [self.note])])


# --- what is checked: a layer, a network, a pair of functions ------------------------------------


@dataclass
class _Subject:
    """Arrays to vary in place, the function of them, and the gradients that it claims."""

    name: str
    arrays: dict[str, np.ndarray]
    evaluate: Callable[[], np.ndarray]
    gradients: Callable[[np.ndarray], dict[str, np.ndarray]]
    note: str = ""


def _double_inputs(inputs: Sequence[Any]) -> list[Any]:
    """Float arrays as float64 copies, the rest as it is."""
    return [
        np.array(a, np.float64, order="C") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for a in inputs
    ]


def _is_varied(argument: Any) -> bool:
    return isinstance(argument, np.ndarray) and argument.dtype == np.float64


def _fresh(arguments: Sequence[Any]) -> list[Any]:
    """Copies: a forward that changes its input must not change ours."""
    return [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]


def _input_names(forward: Callable, inputs: Sequence[Any]) -> list[str]:
    """The names that forward gives to its inputs, for those that are varied."""
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in (0, 1)]
    except (TypeError, ValueError):
        names = []
    names += [f"input {k}" for k in range(len(names), len(inputs))]
    return [name for name, a in zip(names, inputs, strict=False) if _is_varied(a)]


def _as_output(y: Any) -> np.ndarray:
    """A copy of what forward returned, refused unless it is float64 and finite."""
    y = np.array(y)
    if y.dtype != np.float64:
        raise TypeError(
            f"forward: expected float64, got {y.dtype}: in lower precision rounding hides errors; "
            "let the function keep the dtype of its input"
        )
    if not np.isfinite(y).all():
        raise ValueError("forward: expected finite numbers, got NaN or infinity")
    return y


def _named_gradients(names: Sequence[str], arrays: dict[str, np.ndarray], gradients: Any) -> dict:
    gradients = gradients if isinstance(gradients, tuple | list) else (gradients,)
    if len(gradients) != len(names):
        raise ValueError(f"backward: expected gradients of {', '.join(names)}, got {len(gradients)} arrays")
    return {name: _as_gradient(name, g, arrays[name].shape) for name, g in zip(names, gradients, strict=True)}


def _as_gradient(name: str, gradient: Any, shape: tuple[int, ...]) -> np.ndarray:
    if gradient is None:
        raise ValueError(f"backward: expected the gradient of {name}, got None")
    gradient = np.array(gradient)
    if gradient.shape != shape:
        raise ValueError(
            f"backward: expected a gradient of shape {list(shape)} for {name}, got {list(gradient.shape)}"
        )
    return gradient


def _function_subject(forward: Callable, backward: Callable, inputs: Sequence[Any]) -> _Subject:
    inputs = _double_inputs(inputs)
    names = _input_names(forward, inputs)
    arrays = dict(zip(names, filter(_is_varied, inputs), strict=True))

    def evaluate() -> np.ndarray:
        return _as_output(forward(*_fresh(inputs))[0])

    def gradients(dy: np.ndarray) -> dict[str, np.ndarray]:
        y, cache = forward(*_fresh(inputs))
        claimed = backward(dy if isinstance(y, np.ndarray) else float(dy), cache)
        return _named_gradients(names, arrays, claimed)

    name = getattr(forward, "__name__", type(forward).__name__)
    return _Subject(name, arrays, evaluate, gradients)


def _layer_subject(
    layer: Any, inputs: Sequence[Any], training: bool, parameters: Mapping[str, str] | None
) -> _Subject:
    name = f"{type(layer).__name__} {getattr(layer, 'name', '')}".strip()
    if isinstance(layer, Sequential):
        layer = Sequential([_float64_twin(part) for part in layer.layers], layer.input_shape, layer.name)
    elif isinstance(layer, Layer):
        layer = _float64_twin(layer)
    inputs = _double_inputs(inputs)
    input_names = _input_names(layer.forward, inputs)
    arrays = dict(zip(input_names, filter(_is_varied, inputs), strict=True))
    owned = _parameters_of(layer, parameters)
    for parameter, (value, _) in owned.items():
        if value.dtype != np.float64:
            raise TypeError(
                f"{parameter}: expected float64, got {value.dtype}: in lower precision rounding hides "
                "errors; make the layer with float64 parameters"
            )
        arrays[parameter] = value
    knows_training = "training" in inspect.signature(layer.forward).parameters
    options = {"training": training} if knows_training else {}
    wants_dy = bool(inspect.signature(layer.backward).parameters)  # a loss does not

    def evaluate() -> np.ndarray:
        return _as_output(layer.forward(*_fresh(inputs), **options))

    def gradients(dy: np.ndarray) -> dict[str, np.ndarray]:
        for _, grad in owned.values():
            if isinstance(grad(), np.ndarray):
                grad()[...] = 0  # some layers add to their gradients
        layer.forward(*_fresh(inputs), **options)
        claimed = _named_gradients(input_names, arrays, layer.backward(*[dy.copy()] * wants_dy))
        for parameter, (value, grad) in owned.items():
            claimed[parameter] = _as_gradient(parameter, grad(), value.shape)
        return claimed

    has_none = parameters is None and not hasattr(layer, "parameters")
    note = 'parameters: found none; if there are, name them: parameters={"W": "dW"}' if has_none else ""
    if not wants_dy:
        note = ""
    subject = _Subject(name, arrays, evaluate, gradients, note)
    return _with_fixed_randomness(subject, layer)


def _parameters_of(
    layer: Any, names: Mapping[str, str] | None
) -> dict[str, tuple[np.ndarray, Callable[[], Any]]]:
    """By name: the value, and a function that returns the gradient of the last backward."""
    if names is not None:
        return {
            value: (getattr(layer, value), partial(getattr, layer, grad, None))
            for value, grad in names.items()
        }
    found = getattr(layer, "parameters", [])
    found = list(found() if callable(found) else found)
    return {
        getattr(p, "name", f"parameter {k}"): (p.value, partial(getattr, p, "grad"))
        for k, p in enumerate(found)
    }


def _float64_twin(layer: Layer) -> Layer:
    """A copy that computes in float64, so that the original, its gradients and its random state stay."""
    # The module of operations and the buffers are not copied: the memo says what to put instead.
    twin = copy.deepcopy(layer, {id(layer.ops): layer.ops, id(layer._buffers): Buffers()})
    twin.forget()
    for parameter in twin.parameters:
        parameter.value = parameter.value.astype(np.float64)
        parameter.grad = np.zeros_like(parameter.value)
    twin._bind_gradients()
    return twin


def _with_fixed_randomness(subject: _Subject, layer: Any) -> _Subject:
    """The same random numbers at each forward: dropout becomes a function. Backward goes on drawing."""
    generators = list(_generators(layer, set()))
    states = [generator.bit_generator.state for generator in generators]
    legacy = np.random.get_state()  # for layers that call np.random.rand
    evaluate, gradients = subject.evaluate, subject.gradients

    def rewound(function: Callable) -> Callable:
        def call(*args: Any) -> Any:
            for generator, state in zip(generators, states, strict=True):
                generator.bit_generator.state = state
            np.random.set_state(legacy)
            return function(*args)

        return call

    subject.evaluate, subject.gradients = rewound(evaluate), rewound(gradients)
    return subject


def _generators(owner: Any, seen: set[int]) -> Iterator[np.random.Generator]:
    """All generators that an object holds, or its layers."""
    if id(owner) in seen or isinstance(owner, type) or inspect.ismodule(owner):
        return
    seen.add(id(owner))
    if isinstance(owner, np.random.Generator):
        yield owner
        return
    held = owner if isinstance(owner, dict | list | tuple) else getattr(owner, "__dict__", {})
    for part in held.values() if isinstance(held, dict) else held:
        yield from _generators(part, seen)


# --- the check -----------------------------------------------------------------------------------


class _Line:
    """L along a straight line through the point where the check is made."""

    def __init__(self, subject: _Subject, y: np.ndarray, dy: np.ndarray) -> None:
        self.evaluate, self.y, self.dy = subject.evaluate, y, dy
        self.move: Callable[[float], float] = lambda t: t  # moves the arrays by about t, returns how far
        self.rounding = 0.0  # how large an error of the quotient rounding can explain

    def slope(self, t: float) -> float:
        """Of the chord from 0 to t."""
        t = self.move(t)
        moved = self.evaluate()
        self.move(0.0)
        change = moved - self.y
        # Outputs that do not depend on the entry cancel exactly, so their rounding does not count.
        self.rounding = ROUNDING * float(np.linalg.norm((self.dy * moved)[change != 0])) / abs(t)
        return float(np.sum(self.dy * change)) / t

    def quotient(self, step: float) -> tuple[float, float]:
        """The centred difference quotient, and the gap between the slopes to the right and to the left."""
        right, left = self.slope(step), self.slope(-step)
        return (right + left) / 2, right - left

    def derivative(self, step: float, floor: float, tolerance: float, claimed: float) -> float | None:
        """The centred difference quotient nearest to what is claimed, the step halved if need be, or None.

        If it equals what is claimed, that is no coincidence, except on a kink, where the gap between the
        slopes is the same at half the step. If not, the error may be the quotient's own. That of curvature
        and kinks falls away with the step, that of rounding grows and scatters, and by more than the size
        of the output tells. An error of the gradient stays. Only if it does is the claim called wrong.
        """
        tried: list[tuple[float, float, float]] = []
        last = change = 0.0
        steady = 0  # how often in a row the gap stayed; by rounding it may once
        for k in range(HALVINGS + 1):
            quotient, gap = self.quotient(step / 2**k)
            error = abs(quotient - claimed)
            if k:
                steady = steady + 1 if abs(gap - last) < 0.01 * abs(gap) else 0
                if steady == 2:
                    return None  # the kink is here: every step will meet it
                change = max(change, abs(quotient - tried[-1][1]) + abs(gap - last / 2))
            tried.append((error, quotient, self.rounding))
            error, nearest, self.rounding = min(tried)
            allowed = 0.1 * tolerance * max(abs(nearest), floor) + self.rounding
            if error <= allowed and (abs(gap) <= allowed or (k and not steady)):
                return nearest
            last = gap
        return None if change > STAYS * error else nearest  # put this way round, NaN stays


def gradient_check(
    subject: Any,
    x: np.ndarray,
    *more: Any,
    parameters: Mapping[str, str] | None = None,
    training: bool = True,
    dy: np.ndarray | None = None,
    entries: int = 200,
    directions: int = 3,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> GradientReport:
    """Compare what backward returns with difference quotients of forward, at x, in float64.

    subject is one of

    - a layer or a `Sequential` of this package. It is checked on a copy in float64: the original
      may be float32, and nothing of it changes;
    - any object with `y = forward(x)` or `forward(x, training)`, and `dx = backward(dy)`. Its
      parameters are taken from `parameters`, a list or a method that returns one, each with `.value`
      and `.grad`; or from the attributes that the argument `parameters` names, value to gradient:
      `parameters={"W": "dW", "b": "db"}`. They are varied in place and put back;
    - a pair of functions, `y, cache = forward(x, ...)` and `dx, ... = backward(dy, cache)`.

    x and `more` are the inputs of forward. Those that are arrays of floats are differentiated;
    others, such as labels or a stride, are passed on. Random numbers (dropout) are the same at each
    forward. `dy` is random unless given.

    Arrays of up to `entries` entries are checked entry by entry, larger ones in that many entries
    drawn by chance (half of them where the gradient is not said to be 0) and along `directions` random
    directions, which together see all entries.

    Returns a `GradientReport`; `print` it, or call its `assert_ok()`. Raises TypeError if forward does
    not compute in float64, ValueError if it is not a finite function (the same input must give the
    same output) or if gradients are missing or of another shape.
    """
    if isinstance(subject, tuple):
        forward, backward = subject
        checked = _function_subject(forward, backward, (x, *more))
    else:
        checked = _layer_subject(subject, (x, *more), training, parameters)
    if not checked.arrays:
        raise TypeError("gradient_check: expected at least one array of floats, got none")
    rng = np.random.default_rng(seed)
    y = checked.evaluate()
    if not np.array_equal(y, checked.evaluate()):
        raise ValueError(
            "forward: expected the same output for the same input, got another; keep random numbers in a "
            "numpy Generator that the layer owns, and let no state change the output"
        )
    if dy is None:  # of either sign, none near zero: an output with dy = 0 would not be looked at
        dy = rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1.0, 1.0], y.shape)
        if y.ndim == 0 and not isinstance(subject, tuple):
            dy = np.ones(())  # a loss object has no upstream
    dy = np.array(np.broadcast_to(dy, y.shape), np.float64)

    claimed = checked.gradients(dy)
    line = _Line(checked, y, dy)
    reports = []
    for name, array in checked.arrays.items():
        report = ArrayReport(name, array.shape, tolerance=tolerance)
        _check_entries(report, line, array, claimed[name], entries, step, rng)
        if array.size > entries:
            _check_directions(report, line, array, claimed[name], directions, step, rng)
        reports.append(report)
    return GradientReport(checked.name, reports, checked.note)


def _floor(gradient: np.ndarray) -> float:
    """The scale on which small entries are compared. NaN and infinity are for the comparison to find."""
    finite = np.abs(gradient[np.isfinite(gradient)])
    return FLOOR * float(finite.max(initial=0.0))


def _sample(gradient: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """`count` places in the flat array: by turns anywhere, and where the gradient is not said to be 0."""
    places = [np.arange(gradient.size), np.flatnonzero(gradient)]
    drawn = [rng.choice(p, min(count, p.size), replace=False).tolist() for p in places]
    turns = (k for pair in zip_longest(*drawn) for k in pair if k is not None)
    return list(dict.fromkeys(turns))[:count]


def _check_entries(
    report: ArrayReport,
    line: _Line,
    array: np.ndarray,
    gradient: np.ndarray,
    entries: int,
    step: float,
    rng: np.random.Generator,
) -> None:
    floor = _floor(gradient)
    # Of a large array a sample, and for entries on kinks others, but not for ever.
    sampled = array.size > entries
    for k in _sample(gradient, 20 * entries, rng) if sampled else range(array.size):
        tried = report.compared + report.kinks
        if sampled and (report.compared == entries or (tried >= 4 * entries and report.decided)):
            break
        where = tuple(int(i) for i in np.unravel_index(k, array.shape))
        value = float(array[where])

        def move(t: float, where: tuple[int, ...] = where, value: float = value) -> float:
            array[where] = value + t
            return float(array[where]) - value  # value + t is rounded

        line.move = move
        analytic, h = float(gradient[where]), step * max(1.0, abs(value))
        numerical = line.derivative(h, floor, report.tolerance, analytic)
        if numerical is None:
            report.kinks += 1
            continue
        report.compared += 1
        report.compare(where, analytic, numerical, floor, line.rounding)


def _check_directions(
    report: ArrayReport,
    line: _Line,
    array: np.ndarray,
    gradient: np.ndarray,
    directions: int,
    step: float,
    rng: np.random.Generator,
) -> None:
    """Compare the slope along random directions v of length 1 with sum(gradient * v)."""
    before = array.copy()
    typical = float(np.linalg.norm(gradient)) / np.sqrt(array.size)
    floor = typical if np.isfinite(typical) else 0.0
    for k in range(directions):
        v = rng.standard_normal(array.shape)
        v /= np.linalg.norm(v)

        def move(t: float, v: np.ndarray = v) -> float:
            np.add(before, t * v, out=array)
            return t

        line.move = move
        analytic = float(np.sum(gradient * v))
        numerical = line.derivative(step, floor, report.tolerance, analytic)
        if numerical is not None:
            report.directions += 1
            report.compare(f"direction {k}", analytic, numerical, floor, line.rounding)
    array[...] = before
