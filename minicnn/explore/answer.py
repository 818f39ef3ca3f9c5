"""What goes to the page."""

from __future__ import annotations

from typing import Any, NamedTuple

from minicnn.explore.maps import Array


class Answer(NamedTuple):
    """What goes to the page: arrays by name, and facts that JSON can say."""

    arrays: dict[str, Array]
    facts: dict[str, Any]
