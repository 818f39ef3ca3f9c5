"""Hostile files of runs and sweeps: config.json, sweep.json and metrics.csv."""

import json

from cases import BILLION, NO_DATA, content, renamed

# --- config.json ---


def config(name, value, **more):
    return content("config", **more)(
        renamed(name, lambda good: json.dumps(json.loads(good) | value).encode())
    )


config("steps without end", {"steps": 10**400})
config("more steps than a run may have", {"steps": 10**12})
config("an infinite learning rate", {"learning_rate": float("inf")})
config("a learning rate that is text", {"learning_rate": "0.1"})
config("an unknown setting", {"\x1b[31mred": 1})
config("another network than the checkpoint", {"model": "cnn"}, read_by=[*NO_DATA, "explore"])
config("data from a device", {"data": "/dev/zero"}, read_by=NO_DATA)
config("data from memory", {"data": "/proc/self"}, read_by=NO_DATA)
config("data with escapes in its name", {"data": "/\x1b[2J\n\u202e"}, read_by=NO_DATA)
config("batches of a billion", {"batch_size": BILLION})


@content("config")
def nested_too_deeply(good):
    return b"[" * 100_000


@content("config")
def a_number_of_a_million_digits(good):
    return good.replace(b'"seed": 0', b'"seed": ' + b"9" * 90_000)


@content("config", read_by=[""])
def blanks_before_it(good):
    return b" " * 50_000 + good


# --- sweep.json ---


def plan(name, value, **more):
    return content("plan", **more)(renamed(name, lambda good: json.dumps(json.loads(good) | value).encode()))


plan("nothing varied", {"varied": []})
plan("no values", {"varied": {"seed": []}})
plan("a value for a list of values", {"varied": {"seed": 7}})
plan("a hundred million runs", {"varied": {"seed": list(range(10_000)), "steps": list(range(1, 10_000))}})
plan("a run that is there twice", {"varied": {"seed": [0, 0]}})
plan("a seed that is text", {"varied": {"seed": "01"}})
plan("a run above the directory", {"varied": {"recipe": ["../../run"]}})
plan("a setting that there is not", {"given": {"\x1b[31mred": 1}})
plan("a setting with one value and with many", {"given": {"seed": 1}})
plan("numbers that are none", {"varied": {"learning_rate": [float("nan"), float("inf")]}})
plan("data from a device for runs", {"given": {"data": "/dev/zero"}}, read_by=["sweep report"])


@content("plan")
def lists_in_lists(good):
    return b'{"given": {}, "varied": ' + b"[" * 100_000


@content("plan")
def a_seed_of_90_000_digits(good):
    return b'{"given": {}, "varied": {"seed": [' + b"9" * 90_000 + b"]}}"


# --- metrics.csv ---


def metrics(name, rows, **more):
    def make(good):
        return good.splitlines()[0] + b"\n" + rows

    return content("metrics", "measured", **more)(renamed(name, make))


metrics("a step too large to count", b"99999999999999999999,1,1,1,1\n", read_by=["train --resume"])
metrics("numbers that are not finite", b"1,nan,inf,-inf,1e999\n2,1,1,1,1\n", read_by=[""])
metrics("extreme numbers", b"1,1e308,1e-308,-1e308,1e308\n9223372036854775807,-1e308,1,1,0\n", read_by=[""])
metrics("steps backwards", b"".join(b"%d,1,1,1,1\n" % (-n) for n in range(99)), read_by=[""])
metrics("a line of 90,000 characters", b"1" * 90_000, read_by=["train --resume"])
metrics("90,000 empty lines", b"\n" * 90_000, read_by=["train --resume"])
metrics("escapes", b"\x1b[2J\x1b]0;title\x07,1,1,1,1\n", read_by=["train --resume"])
