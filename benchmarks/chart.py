"""Draws pictures/step.png from results/step.json: a bar for each engine's training step.

python benchmarks/chart.py [STEP.JSON [PICTURE.PNG]]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OWN, OURS, OTHER, INK, FAINT = "#1b3a78", "#7f9bcf", "#c3c6cb", "#222222", "#6a6f76"


def main() -> None:
    made = argparse.ArgumentParser(description="Draw the chart of training steps.")
    made.add_argument("source", nargs="?", type=Path, default=HERE / "results" / "step.json")
    made.add_argument("picture", nargs="?", type=Path, default=HERE / "pictures" / "step.png")
    args = made.parse_args()
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(json.loads(args.source.read_text()), args.picture)
    print(f"drawn: {args.picture}")


def draw(content: dict[str, Any], picture: Path) -> None:
    """Horizontal bars, the fastest on top; minicnn's are dark, so the picture also reads in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    data, machine = content["data"], content["machine"]
    engines = sorted(data["engines"], key=lambda engine: engine["median"])
    own = next(engine for engine in engines if engine["name"] == "minicnn")
    longest = max(engine["upper"] for engine in engines)

    with plt.rc_context({"font.family": "DejaVu Sans", "font.size": 11, "text.color": INK}):
        figure, axes = plt.subplots(figsize=(8, 1.5 + 0.42 * len(engines)), layout="none")
        for i, engine in enumerate(engines):
            median, lower, upper = (engine[part] for part in ("median", "lower", "upper"))
            colour = OWN if engine is own else OURS if engine["name"].startswith("minicnn") else OTHER
            weight = "bold" if engine is own else "normal"
            axes.barh(i, median, height=0.68, color=colour)
            axes.errorbar(
                median, i, xerr=[[median - lower], [upper - median]], ecolor=INK, elinewidth=1, capsize=2.5
            )
            for at, text in ((1.14, f"{1000 * median:.1f}"), (1.28, f"{median / own['median']:.1f}")):
                axes.text(at * longest, i, text, va="center", ha="right", fontweight=weight)
        for at, head in ((1.14, "ms"), (1.28, "ratio")):
            axes.text(at * longest, -0.75, head, va="center", ha="right", color=FAINT, fontsize=9.5)
        axes.set_yticks(range(len(engines)), [engine["name"] for engine in engines])
        axes.get_yticklabels()[engines.index(own)].set_fontweight("bold")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set(xticks=[], xlim=(0, 1.29 * longest), ylim=(len(engines) - 0.5, -1.1))
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)
        axes.spines["left"].set_color(FAINT)

        height = figure.get_figheight()
        figure.subplots_adjust(left=0.325, right=0.985, top=1 - 0.72 / height, bottom=0.36 / height)
        figure.text(
            0.02, 1 - 0.34 / height, f"One training step of the tutorial's network, batch {data['batch']}",
            fontsize=13, fontweight="bold",
        )  # fmt: skip
        figure.text(
            0.02, 1 - 0.62 / height, "medians of an interleaved run, with quartiles; shorter is better",
            fontsize=9.5, color=FAINT,
        )  # fmt: skip
        where = f"{machine['processor']}, {content['threads']} threads, {machine['date']}"
        figure.text(0.02, 0.12 / height, where, fontsize=8.5, color=FAINT)
        figure.savefig(picture, dpi=150, facecolor="white", metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
