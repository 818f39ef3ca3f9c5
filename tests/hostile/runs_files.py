"""Hostile files of a run: config.json and metrics.csv."""

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


# --- metrics.csv ---


def metrics(name, rows, **more):
    def make(good):
        return good.splitlines()[0] + b"\n" + rows

    return content("metrics", **more)(renamed(name, make))


metrics("a step too large to count", b"99999999999999999999,1,1,1,1\n", read_by=["train --resume"])
metrics("numbers that are not finite", b"1,nan,inf,-inf,1e999\n2,1,1,1,1\n", read_by=[""])
metrics("extreme numbers", b"1,1e308,1e-308,-1e308,1e308\n9223372036854775807,-1e308,1,1,0\n", read_by=[""])
metrics("steps backwards", b"".join(b"%d,1,1,1,1\n" % (-n) for n in range(99)), read_by=[""])
metrics("a line of 90,000 characters", b"1" * 90_000, read_by=["train --resume"])
metrics("90,000 empty lines", b"\n" * 90_000, read_by=["train --resume"])
metrics("escapes", b"\x1b[2J\x1b]0;title\x07,1,1,1,1\n", read_by=["train --resume"])
