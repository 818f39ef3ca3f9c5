"""learn: write the network yourself in eight exercises, have them checked, and train it."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import add_command, add_orientation, expect_name, open_data
from minicnn.cli.terminal import UsageError, can_print, program, progress_bar, quoted, say

if TYPE_CHECKING:
    from minicnn.data import Dataset
    from minicnn.learn.messages import Messages

LANGUAGES = ("en", "zh")
GOAL = 0.97  # of MNIST's test images
STYLES = {"good": "green", "bad": "red", "dim": "dim", "bold": "bold", "": ""}


def start_command(args: argparse.Namespace) -> int:
    """Write the file with the exercises; an existing one stays as it is."""
    from minicnn.learn.exercises import FILE
    from minicnn.learn.start import write_exercises

    messages, command = _messages(args), _commands(args)
    expect_name("DIR", args.directory)
    file = os.path.join(args.directory, FILE)
    if os.path.lexists(file):
        raise UsageError(messages("exists", file=file, command=command("check")))
    if os.path.lexists(args.directory) and not os.path.isdir(args.directory):
        raise UsageError(messages("not_a_directory", directory=args.directory))
    write_exercises(Path(args.directory), args.language)
    say(messages("written", file=file))
    say(messages("start_next", command=command("check")))
    return 0


def check_command(args: argparse.Namespace) -> int:
    """Check the exercises and show how far they are; the exit code is 1 unless all pass."""
    from minicnn.learn import board, sessions

    if args.hint not in (1, 2, 3):
        raise UsageError(f"--hint: expected 1, 2 or 3, got {args.hint}")
    outcomes = sessions.check(_file(args, "check"))
    signs = can_print("".join(board.SIGNS.values()))
    for line in board.board(outcomes, _messages(args), args.hint, _commands(args), signs):
        say(line.text, STYLES[line.style])
    return 0 if all(outcome.status == "passed" for outcome in outcomes.values()) else 1


def train_command(args: argparse.Namespace) -> int:
    """Train with the learner's code, then with our kernels in its place, one by one."""
    from minicnn.data.remarks import like_mnist
    from minicnn.learn import sessions
    from minicnn.learn.lesson import Lesson

    for name in ("steps", "batch_size"):
        if getattr(args, name) < 1:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option}: expected 1 or more, got {getattr(args, name)}")
    file, digits = _file(args, "train"), like_mnist(_data(args).train)
    messages, command = _messages(args), _commands(args)
    outcomes = sessions.check(file)
    passed = sum(outcome.status == "passed" for outcome in outcomes.values())
    if passed < 8:
        say(messages("not_all", passed=passed, total=8, command=command("check")), "red")
        return 1
    goal = GOAL if args.data is None and args.steps >= STEPS else None
    where = "" if args.directory == "." else args.directory
    lesson = Lesson(
        messages,
        command,
        lambda name: os.path.join(where, name),
        lambda network: _uses(network, args, digits),
        goal,
        lambda text, style: say(text, STYLES[style]),
    )
    request = _request(args, file)
    with (
        contextlib.closing(sessions.events(request, sessions.PATIENCE, sessions.Printed())) as sent,
        progress_bar(args.steps, unit=" steps") as bar,
    ):
        for event in sent:
            lesson.tell(event)
            if "step" in event:
                bar.update(1)
    return lesson.code


STEPS = 400


def _data(args: argparse.Namespace) -> Dataset:
    """What to train on. Raises UsageError for data that cannot be used."""
    try:
        data = open_data(args)
    except ValueError as error:
        raise UsageError(error) from None
    if len(data.train) < args.batch_size:
        raise UsageError(f"--batch-size: expected at most {len(data.train)}, got {args.batch_size}")
    return data


def _request(args: argparse.Namespace, file: Path) -> dict[str, Any]:
    """What the child is asked to do."""
    from minicnn.runs.settings import ORIENTATION

    return {
        "work": "train",
        "path": str(file),
        "directory": os.path.abspath(args.directory),
        "data": None if args.data is None else os.path.abspath(args.data),
        "orientation": {name: value for name, value in vars(args).items() if name in ORIENTATION},
        "steps": args.steps,
        "batch": args.batch_size,
        "every": max(1, min(50, args.steps)),
        "anyway": args.anyway,
    }


def _uses(network: str, args: argparse.Namespace, digits: bool) -> list[str]:
    """Commands that use a network file, as the user would type them.

    Photographs are prepared as `digits` are, if it learned those, and only scaled if it learned other images.
    """
    as_is = [] if digits else ["--as-is", *(["--invert"] * getattr(args, "invert", False))]
    lines = [["predict", quoted(network), "photo.jpg", *as_is]]
    if args.data is None:
        lines.append(["explore", quoted(network)])
    else:
        given = [f"--{name}" for name in ("transpose", "invert") if getattr(args, name, False)]
        given += ["--size", str(args.size)] if hasattr(args, "size") else []
        lines.append(["evaluate", quoted(network), "--data", quoted(args.data), *given])
    return [" ".join([program(), *line]) for line in lines]


def _file(args: argparse.Namespace, action: str) -> Path:
    """The learner's file in the directory that `action` is given. Raises UsageError if there is none."""
    from minicnn.learn.exercises import FILE

    expect_name("DIR", args.directory)
    messages, given = _messages(args), Path(args.directory)
    if given.is_file():
        command = _commands(args, str(given.parent))(action)
        raise UsageError(messages("a_file", file=args.directory, command=command))
    file = given / FILE
    if not file.is_file():
        start = _commands(args, "course" if args.directory == "." else None)("start")
        raise UsageError(messages("no_file", file=file, command=start))
    return file.resolve()


def _commands(args: argparse.Namespace, directory: str | None = None) -> Callable[..., str]:
    """Writes a command as it is typed, for this or another directory: command("check", "--hint")."""
    where = args.directory if directory is None else directory

    def command(action: str, *options: str) -> str:
        named = [] if where == "." else [quoted(where)]
        language = [] if args.language == _language() else ["--language", args.language]
        return " ".join([program(), "learn", action, *named, *options, *language])

    return command


def _messages(args: argparse.Namespace) -> Messages:
    from minicnn.learn.messages import Messages

    return Messages(args.language)


def _language() -> str:
    """Chinese where the user's locale is; else English."""
    chosen = next((os.environ[v] for v in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(v)), "")
    return "zh" if chosen.startswith("zh") else "en"


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "write the network yourself in eight exercises, have them checked, and train it"
    parser = commands.add_parser(
        "learn",
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=(
            "You write plain NumPy in one file: im2col, convolution forward and backward, max-pool, ReLU,\n"
            "dropout, softmax cross-entropy and Adam. Your file is run, in a process of its own.\n"
            "\n"
            "examples:\n"
            "  minicnn learn start course       write the exercises into course/my_network.py\n"
            "  minicnn learn check course       see what works, what does not, and why\n"
            "  minicnn learn train course       train with your own code, then faster and faster"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    about = "write the file with the eight exercises; nothing that exists is replaced"
    start = add_command(actions, "start", start_command, about, "example:\n  minicnn learn start course")
    start.add_argument("directory", metavar="DIR", help="where my_network.py goes; made if it is missing")

    about = "check the exercises; exit code 0 if all eight pass, else 1"
    example = "examples:\n  minicnn learn check course\n  minicnn learn check course --hint"
    check = add_command(actions, "check", check_command, about, example)
    check.add_argument("directory", metavar="DIR", nargs="?", default=".", help="where my_network.py is (.)")
    check.add_argument(
        "--hint", type=int, nargs="?", const=2, default=1, metavar="N", help="a stronger hint: 2, or 3 (1)"
    )

    about = "train the network with your code, then with our kernels in its place, one by one"
    example = "examples:\n  minicnn learn train course\n  minicnn learn train course --data PATH --steps 600"
    train = add_command(actions, "train", train_command, about, example)
    train.add_argument("directory", metavar="DIR", nargs="?", default=".", help="where my_network.py is (.)")
    train.add_argument("--data", metavar="PATH", help="a data set, as of minicnn train (MNIST)")
    train.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"steps of training ({STEPS})")
    train.add_argument("--batch-size", type=int, default=50, metavar="N", help="images in a step (50)")
    train.add_argument("--anyway", action="store_true", help="train even if it takes more than ten minutes")
    add_orientation(train)
    for action in (start, check, train):
        languages: dict[str, Any] = {"choices": LANGUAGES, "default": _language()}
        action.add_argument("--language", **languages, help="of the texts (that of the locale, or en)")
