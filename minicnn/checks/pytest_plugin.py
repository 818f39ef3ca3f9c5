"""A fixture and a marker for pytest, of whoever has minicnn installed.

    def test_affine(gradient_check):
        gradient_check((affine_forward, affine_backward), x, w, b)

    @pytest.mark.gradient_check(seeds=5, constants=("mask",))
    def test_dropout(gradient_check): ...

Nothing is imported or done until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from minicnn.checks.report import GradientReport


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker."""
    config.addinivalue_line(
        "markers",
        "gradient_check(seeds=1, **options): options of minicnn.gradient_check for the fixture of "
        "that name; with seeds, so many upstream gradients are tried",
    )


@pytest.fixture
def gradient_check(request: pytest.FixtureRequest) -> Callable[..., GradientReport]:
    """`minicnn.gradient_check` that fails the test unless all gradients are right; returns a report."""
    marked: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("gradient_check"))):
        marked |= marker.kwargs

    def check(subject: Any, *inputs: Any, **options: Any) -> GradientReport:
        from minicnn.checks.gradcheck import gradient_check

        settings = {**marked, **options}
        seeds, first = settings.pop("seeds", 1), settings.pop("seed", 0)
        if seeds < 1:
            raise ValueError(f"seeds: expected 1 or more, got {seeds}")
        for seed in range(first, first + seeds):
            report = gradient_check(subject, *inputs, seed=seed, **settings)
            report.assert_ok()
        return report

    return check
