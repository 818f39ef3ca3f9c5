"""Exercises 7 and 8: softmax cross-entropy, and Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minicnn.engine import reference
from minicnn.learn.findings import Wrong
from minicnn.learn.learner import Learner
from minicnn.learn.probe import Array, Results, Subject, compare, diagnosed, gradients

# --- softmax cross-entropy ---


def _loss(logits: Array, labels: Array) -> float:
    return reference.softmax_cross_entropy_forward(logits, labels)[0]


def _of_p(logits: Array, labels: Array) -> Array:
    return reference.softmax(logits)[np.arange(len(logits)), labels]


def _over_the_batch(logits: Array, labels: Array) -> float:
    p = reference.softmax(logits.T).T
    return float(-np.log(p[np.arange(len(p)), labels]).mean())


def _labels_as_weights(logits: Array, labels: Array) -> float:
    return float((labels * -np.log(reference.softmax(logits))).sum()) / len(logits)


LOSS = Subject(
    function="softmax_cross_entropy_forward",
    learners=lambda learner, case: {"loss": learner.pair("softmax_cross_entropy_forward", *case)[0]},
    reference=lambda logits, labels: {"loss": _loss(logits, labels)},
    mistakes={
        "loss_summed": ("loss", lambda z, labels: len(z) * _loss(z, labels)),
        "loss_of_each": ("loss", lambda z, labels: -np.log(_of_p(z, labels))),
        "loss_sign": ("loss", lambda z, labels: -_loss(z, labels)),
        "no_logarithm": ("loss", lambda z, labels: float(_of_p(z, labels).mean())),
        "one_minus_p": ("loss", lambda z, labels: float((1 - _of_p(z, labels)).mean())),
        "logarithm_10": ("loss", lambda z, labels: _loss(z, labels) / np.log(10)),
        "logarithm_2": ("loss", lambda z, labels: _loss(z, labels) / np.log(2)),
        "mean_of_all": ("loss", lambda z, labels: _loss(z, labels) / z.shape[1]),
        "softmax_over_batch": ("loss", _over_the_batch),
        "labels_as_weights": ("loss", _labels_as_weights),
    },
    arguments=("logits", "labels"),
)


def _dlogits(logits: Array, labels: Array) -> Array:
    _, cache = reference.softmax_cross_entropy_forward(logits, labels)
    return reference.softmax_cross_entropy_backward(1.0, cache)


def _learners_dlogits(learner: Learner, case: tuple[Any, ...]) -> Results:
    _, cache = learner.pair("softmax_cross_entropy_forward", *case)
    return {"dlogits": learner.call("softmax_cross_entropy_backward", cache)}


def _at_all_labels(logits: Array, labels: Array) -> Array:
    p = reference.softmax(logits)
    p[:, labels] -= 1
    return p / len(p)


LOSS_BACKWARD = Subject(
    function="softmax_cross_entropy_backward",
    learners=_learners_dlogits,
    reference=lambda logits, labels: {"dlogits": _dlogits(logits, labels)},
    mistakes={
        "mean_forgotten": ("dlogits", lambda z, labels: len(z) * _dlogits(z, labels)),
        "label_not_subtracted": ("dlogits", lambda z, labels: reference.softmax(z) / len(z)),
        "p_alone": ("dlogits", lambda z, labels: reference.softmax(z)),
        "gradient_sign": ("dlogits", lambda z, labels: -_dlogits(z, labels)),
        "gradient_sign_sum": ("dlogits", lambda z, labels: -len(z) * _dlogits(z, labels)),
        "mean_of_all": ("dlogits", lambda z, labels: _dlogits(z, labels) / z.shape[1]),
        "at_all_labels": ("dlogits", _at_all_labels),
    },
    arguments=("logits", "labels"),
)


def check_loss(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless both functions of the loss are right."""
    rng = np.random.default_rng(6)
    hand = (np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([0, 1]))
    cases = [(rng.normal(size=(N, K)), rng.integers(0, K, N)) for N, K in [(1, 10), (5, 3), (7, 2)]]
    single = (cases[1][0].astype(np.float32), cases[1][1])
    large = (np.array([[1000.0, 0, -1000], [999, 1000, -2]]), np.array([0, 0]))
    apart = (np.array([[1000.0, 999], [-1000, -1001]]), np.array([1, 0]))
    unlikely = (np.array([[1000.0, 0, -1000], [0, 1, 2]]), np.array([2, 0]))
    compare(learner, LOSS, [hand, *cases, single])
    _expect_finite(learner, large, "loss_overflows")
    _expect_finite(learner, apart, "one_maximum")
    _expect_finite(learner, unlikely, "log_of_tiny_p", finite_too=True)

    def forward(logits: Array, labels: Array) -> tuple[Any, Any]:
        return learner.pair("softmax_cross_entropy_forward", logits, labels)

    def backward(dloss: Any, cache: Any) -> Any:
        return np.asarray(dloss) * learner.call("softmax_cross_entropy_backward", cache)

    try:
        compare(learner, LOSS_BACKWARD, [hand, *cases, single, large])
        _, cache = forward(*hand)
        first = np.array(learner.call("softmax_cross_entropy_backward", cache))
        if not np.array_equal(first, learner.call("softmax_cross_entropy_backward", cache)):
            raise Wrong("cache_used_up", function="softmax_cross_entropy_backward")
    except Wrong as wrong:
        raise diagnosed(wrong, forward, backward, *cases[1]) from None
    gradients("softmax_cross_entropy_backward", forward, backward, *cases[1])


def _expect_finite(
    learner: Learner, case: tuple[Array, Array], mistake: str, finite_too: bool = False
) -> None:
    """Compare a case in which that mistake leads to infinity or NaN, or else to another wrong number."""
    try:
        compare(learner, LOSS, [case])
    except Wrong as wrong:
        loss, _ = learner.pair("softmax_cross_entropy_forward", *case)
        if wrong.finding.key == "values" and (finite_too or not np.isfinite(loss)):
            wrong.finding = replace(wrong.finding, mistake=mistake)
        raise


# --- Adam ---

Update = Callable[..., None]
RATES = (0.1, 0.9, 0.999, 1e-8)


def _after(update: Update, value: Array, gradients: list[Array], rates: tuple[float, ...]) -> Results:
    """value, m and v after a step with each of the gradients."""
    m, v = np.zeros_like(value), np.zeros_like(value)
    value = value.copy()
    for step, grad in enumerate(gradients, start=1):
        update(value, grad.copy(), m, v, step, *rates)
    return {"m": m, "v": v, "value": value}  # the cause before its effect


def _learners_adam(learner: Learner, case: tuple[Any, ...]) -> Results:
    value, grads, rates = case
    given = learner.find("adam_update")

    def update(value: Array, grad: Array, *more: Any) -> None:
        kept = grad.copy()
        with np.errstate(all="ignore"):
            _guarded(learner, given, value, grad, *more)
        if not np.array_equal(kept, grad):
            raise Wrong("changed", function="adam_update", argument="grad")

    found = _after(update, value, grads, rates)
    untouched = [
        name for name, array in found.items() if np.array_equal(array, {"value": value}.get(name, 0 * value))
    ]
    if untouched:
        raise Wrong("not_in_place", function="adam_update", arguments=", ".join(untouched))
    return found


def _guarded(learner: Learner, given: Callable[..., Any], *arguments: Any) -> None:
    from minicnn.learn.findings import NotStarted

    try:
        given(*arguments)
    except NotImplementedError as error:
        raise NotStarted("adam_update") from error
    except (Exception, SystemExit) as error:
        raise learner.failed("adam_update", arguments, error) from error


def _variant(
    m_hat: Callable[..., Any] = lambda m, beta, step: m / (1 - beta**step),
    v_hat: Callable[..., Any] = lambda v, beta, step: v / (1 - beta**step),
    grown: Callable[..., Any] = lambda grad: grad**2,
    divided: Callable[..., Any] = lambda m, v, epsilon: m / (np.sqrt(v) + epsilon),
    sign: float = -1,
    rate: bool = True,
    shares: Callable[[float], float] = lambda beta: 1 - beta,
) -> Update:
    """Adam with one part of it done otherwise."""

    def update(
        value: Array, grad: Array, m: Array, v: Array, step: int,
        learning_rate: float, beta1: float, beta2: float, epsilon: float,
    ) -> None:  # fmt: skip
        m[...] = beta1 * m + shares(beta1) * grad
        v[...] = beta2 * v + shares(beta2) * grown(grad)
        moved = divided(m_hat(m, beta1, step), v_hat(v, beta2, step), epsilon)
        value += sign * (learning_rate if rate else 1) * moved

    return update


def _plain(moment: Array, beta: float, step: int) -> Array:
    return moment


ADAM_MISTAKES: dict[str, tuple[str, Update]] = {
    "no_correction": ("value", _variant(m_hat=_plain, v_hat=_plain)),
    "v_not_corrected": ("value", _variant(v_hat=_plain)),
    "m_not_corrected": ("value", _variant(m_hat=_plain)),
    "corrected_by_beta": ("value", _variant(lambda m, b, s: m / (1 - b), lambda v, b, s: v / (1 - b))),
    "corrected_late": (
        "value",
        _variant(lambda m, b, s: m / (1 - b ** (s + 1)), lambda v, b, s: v / (1 - b ** (s + 1))),
    ),
    "epsilon_inside": ("value", _variant(divided=lambda m, v, epsilon: m / np.sqrt(v + epsilon))),
    "no_epsilon": ("value", _variant(divided=lambda m, v, epsilon: m / np.sqrt(v))),
    "no_root": ("value", _variant(divided=lambda m, v, epsilon: m / (v + epsilon))),
    "update_sign": ("value", _variant(sign=1)),
    "no_learning_rate": ("value", _variant(rate=False)),
    "not_squared": ("v", _variant(grown=lambda grad: grad)),
    "absolute_value": ("v", _variant(grown=np.abs)),
    "no_share": ("m", _variant(shares=lambda beta: 1)),
}


def _with(update: Update, name: str) -> Callable[..., Any]:
    return lambda value, grads, rates: _after(update, value, grads, rates)[name]


ADAM = Subject(
    function="adam_update",
    learners=_learners_adam,
    reference=lambda value, grads, rates: _after(reference.adam_update, value, grads, rates),
    mistakes={key: (name, _with(update, name)) for key, (name, update) in ADAM_MISTAKES.items()},
    arguments=("value", "grad", "rates"),
)


def check_adam(learner: Learner) -> None:
    """Raise Wrong or NotStarted unless `adam_update` is right."""
    rng = np.random.default_rng(7)
    hand = (np.array([1.0, 1.0]), [np.array([0.5, -2.0])], RATES)
    cases: list[Any] = []
    for shape, steps, rates in [
        ((4, 3), 5, RATES),
        ((2, 3, 1, 2), 3, (0.01, 0.8, 0.9, 1e-2)),
        ((5,), 1, RATES),
    ]:
        cases.append((rng.normal(size=shape), [rng.normal(size=shape) for _ in range(steps)], rates))
    value, grads, rates = cases[0]
    cases.append((value.astype(np.float32), [grad.astype(np.float32) for grad in grads], rates))
    compare(learner, ADAM, [hand, *cases])
