"""What `minicnn learn train` says while it goes on, event by event (see `training` and `swapping`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicnn.learn.board import columns, problem
from minicnn.learn.exercises import NETWORK
from minicnn.learn.findings import Finding
from minicnn.learn.messages import Messages

AGREE = 1e-2  # of the loss: rounding is not that large after a few steps of Adam


class Lesson:
    """Prints events in a language; `code` is the exit code so far.

    `goal` is the share of the test images that are to be classified correctly, None if there is none.
    `path` is how the user would name a file in the learner's directory, and `uses` the commands that make
    use of a network file, as they would be typed.
    """

    code: int

    def __init__(
        self,
        messages: Messages,
        command: Callable[..., str],
        path: Callable[[str], str],
        uses: Callable[[str], list[str]],
        goal: float | None,
        say: Callable[[str, str], None],
    ) -> None:
        self._messages, self._command, self._goal, self._say = messages, command, goal, say
        self._path, self._uses = path, uses
        self._request: dict[str, Any] = {}
        self._losses: list[float] = []
        self._difference, self._first, self._widths = 0.0, 0.0, [0, 0, 0]
        self.code = 1  # until the end is reached

    def tell(self, event: dict[str, Any]) -> None:
        """Print what an event says."""
        for key in (
            "estimate",
            "step",
            "diverged",
            "test",
            "saved",
            "not_saved",
            "compiling",
            "no_kernels",
            "swap",
            "wrong",
            "ended",
        ):
            if key in event:
                getattr(self, f"_{key}")(event)
                return

    def _print(self, name: str, style: str = "", /, **values: Any) -> None:
        self._say(self._messages(name, **values), style)

    def _estimate(self, event: dict[str, Any]) -> None:
        self._print(
            "estimate",
            step=f"{event['step_seconds']:.2g}",
            total=self._duration(event["estimate"]),
            steps=event["steps"],
            batch=event["batch"],
        )
        if event["busy"]:
            self._print("busy", alone=self._duration(event["alone"]))
        if not event["start"]:
            share = f"{100 * event['share']:.0f} %"
            again = self._command("train", "--anyway")
            self._print("too_slow", "bad", slowest=event["slowest"], share=share, command=again)

    def _step(self, event: dict[str, Any]) -> None:
        if "accuracy" in event:
            left = event["seconds"] / event["step"] * (event["steps"] - event["step"])
            self._print(
                "progress",
                step=event["step"],
                loss=f"{event['loss']:.4f}",
                accuracy=f"{event['accuracy']:.4f}",
                left=self._duration(left),
            )

    def _diverged(self, event: dict[str, Any]) -> None:
        self._print("diverged", "bad", step=event["diverged"])

    def _test(self, event: dict[str, Any]) -> None:
        correct, count = event["test"], event["count"]
        self._print("trained", seconds=self._duration(event["seconds"]))
        self._say(f"test accuracy {correct / count:.4f} ({correct} of {count})", "bold")
        reached = self._goal is None or correct / count >= self._goal
        if self._goal is not None:
            goal = f"{100 * self._goal:.0f} %"
            self._print("reached" if reached else "missed", "good" if reached else "bad", goal=goal)
        self.code = 0 if reached else 1

    def _saved(self, event: dict[str, Any]) -> None:
        file = self._path(event["saved"])
        if event["taken"]:
            self._print("taken", file=self._path(NETWORK))
        self._print("saved", file=file)
        for command in self._uses(file):
            self._say(f"  {command}", "")

    def _not_saved(self, event: dict[str, Any]) -> None:
        self._print("not_saved", "bad", file=self._path(NETWORK), problem=event["not_saved"])
        self.code = 1

    def _compiling(self, event: dict[str, Any]) -> None:
        self._say("", "")
        self._print("compiling")
        labels = [self._messages(f"swap_{key}", cores=event["cores"]) for key in ("none", "whole", "cores")]
        labels += [self._messages("swap", name=self._messages(key)) for key in event["swaps"]]
        heads = self._messages("columns").split("|")
        self._widths = [max(map(columns, [heads[0], *labels])), columns(heads[1]), columns(heads[2])]
        self._say("", "")
        self._row(*heads)

    def _no_kernels(self, event: dict[str, Any]) -> None:
        self._print("no_kernels", problem=event["no_kernels"])

    def _swap(self, event: dict[str, Any]) -> None:
        key, milliseconds = event["swap"], event["milliseconds"]
        if not key:
            self._losses, self._first = event["losses"], milliseconds
        pairs = zip(event["losses"], self._losses, strict=False)
        self._difference = max([self._difference, *(abs(a - b) / abs(b) for a, b in pairs)])
        if key in ("", "whole", "cores"):
            label = self._messages(f"swap_{key or 'none'}", cores=event.get("cores"))
        else:
            label = self._messages("swap", name=self._messages(key))
        self._row(label, f"{milliseconds:.1f}", f"{self._first / milliseconds:.1f}")
        if event["last"]:
            key = "agree" if self._difference < AGREE else "disagree"
            self._say("", "")
            self._print(key, steps=len(self._losses), difference=f"{self._difference:.1e}")

    def _row(self, label: str, *numbers: str) -> None:
        cells = [label + " " * (self._widths[0] - columns(label))]
        for text, width in zip(numbers, self._widths[1:], strict=True):
            cells.append(" " * (width - columns(text)) + text)
        self._say("  ".join(cells), "")

    def _wrong(self, event: dict[str, Any]) -> None:
        finding = Finding.from_json(event["wrong"])
        self._say(problem(finding, self._messages), "bad")
        if finding.values.get("where"):
            self._print("raised_where", where=finding.values["where"])
        self.code = 1

    def _ended(self, event: dict[str, Any]) -> None:
        self._print(event["ended"], "bad", **event["values"])
        self.code = 1

    def _duration(self, seconds: float) -> str:
        if seconds < 100:
            return self._messages("seconds", count=f"{seconds:.0f}")
        if seconds < 6000:
            return self._messages("minutes", count=f"{seconds / 60:.0f}")
        return self._messages("hours", count=f"{seconds / 3600:.0f}")
