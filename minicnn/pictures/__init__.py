"""The pictures of a run, of several runs together, and of one image on its way through a network.

Plain arrays in, one PNG out: nothing here knows about networks or training. Matplotlib is imported when
something is drawn.
"""

from .confusion import confusion_counts, draw_confusion
from .curves import draw_comparison, draw_curves, read_metrics
from .filters import draw_filters
from .mistakes import confident_mistakes, draw_mistakes
from .of_run import draw_run
from .seen import draw_seen
from .style import is_ours
from .sweep import Curves, draw_sweep

__all__ = [
    "Curves",
    "confident_mistakes",
    "confusion_counts",
    "draw_comparison",
    "draw_confusion",
    "draw_curves",
    "draw_filters",
    "draw_mistakes",
    "draw_run",
    "draw_seen",
    "draw_sweep",
    "is_ours",
    "read_metrics",
]
