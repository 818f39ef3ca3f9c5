"""explore: open a page in the browser on which every number of the network can be followed."""

from __future__ import annotations

import argparse
import os
import threading
import webbrowser
from typing import TYPE_CHECKING, Any

from minicnn.cli.common import RUN_OR_FILE, add_command, expect_name, open_network, prepare_kernels
from minicnn.cli.terminal import UsageError, quoted, say

if TYPE_CHECKING:
    from minicnn.data import Dataset
    from minicnn.explore.session import Session


def explore_command(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from minicnn.explore.server import ExploreServer

    if not 0 <= args.port <= 65535:
        raise UsageError(f"--port: expected 0 to 65535, got {args.port}")
    if args.export is not None:
        return _export(args.run, args.data, args.export)
    try:
        session = _new_session(args.data) if args.run is None else _session_of(args.run, args.data)
    except ValueError as error:
        raise UsageError(error) from None
    try:
        try:
            server = ExploreServer(session, args.port)
        except OSError as error:
            raise UsageError(f"--port: {args.port} cannot be used ({error.strerror})") from None
        with server:
            say(f"explore {session.name} at {server.address}")
            say("Ctrl-C stops")
            if not args.no_browser:
                threading.Thread(target=webbrowser.open, args=[server.address], daemon=True).start()
            server.serve_forever()
    finally:
        session.close()
    return 0


def _new_session(data: str | None) -> Session:
    """A session with a new network, which is trained by the recipe `fast`. Nothing is written to a file."""
    from minicnn.explore.session import Session
    from minicnn.runs.run import Run, load_dataset
    from minicnn.runs.settings import settings_for

    prepare_kernels()
    settings = settings_for(recipe="fast", data=data)
    run = Run(settings, load_dataset(settings), "")
    return Session(run.network, run.data, "a new network", run)


def _session_of(run: str, data: str | None) -> Session:
    from minicnn.explore.session import Session

    network = open_network(run)
    prepare_kernels(network.layers[0].ops)
    try:
        return Session(network, _data_of(run, data), run)
    except ValueError as error:
        raise UsageError(f"{run}: {error}") from None


def _export(run: str | None, data: str | None, directory: str) -> int:
    """Write the page into a directory, with everything that it needs to work without Python."""
    from minicnn.explore.export import exported
    from minicnn.storage.outputs import expect_new_directory, write_new_directory

    expect_name("--export", directory)
    if run is None:
        raise UsageError("--export: expected a RUN to export as well; a new network has learned nothing")
    network = open_network(run)
    try:
        expect_new_directory(directory, [run])
    except OSError as error:
        raise UsageError(f"--export: {directory} is {error.strerror}") from None
    prepare_kernels(network.layers[0].ops)
    try:
        files = exported(network, _data_of(run, data), os.path.basename(os.path.abspath(run)))
    except ValueError as error:
        raise UsageError(f"{run}: {error}") from None
    write_new_directory(directory, files)
    megabytes = sum(map(len, files.values())) / 1e6
    say(f"written: {len(files)} files, {megabytes:.1f} MB, in {directory}")
    say(f"show it: python -m http.server --bind 127.0.0.1 --directory {quoted(directory)}")
    say("any web server can show it; opened as a file it cannot load its modules")
    return 0


def _data_of(run: str, data: str | None) -> Dataset:
    """The data set under a name; else what the run was trained on, and for a network file MNIST."""
    from minicnn.data import load_mnist
    from minicnn.runs.directory import read_config
    from minicnn.runs.run import load_dataset

    if not os.path.isdir(run):
        return load_mnist(data)
    settings, _ = read_config(run)
    return load_dataset(settings, data)


def add_to(commands: Any) -> None:
    """Add the command and its arguments to the parser."""
    about = "follow every number of a network, forward and back, on a page in your browser"
    example = (
        "Draw a digit, click any number, and see the products that made it, down to the pixel.\n"
        "Without RUN, a new network is trained before your eyes (recipe fast). RUN is only read.\n"
        "The page is served to this computer only, at an address that nobody can guess.\n"
        "\n"
        "examples:\n"
        "  minicnn explore                              watch a network learn\n"
        "  minicnn explore runs/second                  explore a trained one\n"
        "  minicnn explore runs/second --no-browser     only print the address\n"
        "  minicnn explore runs/second --export page    write the page for a web server, without Python"
    )
    parser = add_command(commands, "explore", explore_command, about, example)
    parser.add_argument("run", metavar="RUN", nargs="?", help=f"{RUN_OR_FILE} (a new network)")
    parser.add_argument("--data", metavar="PATH", help="a data set of 28 x 28 images (that of RUN)")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port to listen on (a free one)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    exported = "write the page into a new directory and stop; there it needs a web server, but no Python"
    parser.add_argument("--export", metavar="DIR", help=exported)
