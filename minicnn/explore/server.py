"""Transport: HTTP on this machine only, for one page with one random token in its address.

    GET  /TOKEN/ and files below it     the page
    GET  /TOKEN/api/about               facts, JSON
    GET  /TOKEN/api/digits, digit       test images, one image
    GET  /TOKEN/api/events              server-sent events
    POST /TOKEN/api/drawing             140 x 140 bytes of ink in, all maps out
    GET  /TOKEN/api/favourites          what excites a unit
    GET  /TOKEN/api/accuracy            on 1,000 test images
    POST /TOKEN/api/image, trace, nudge, occlusion, nearest     28 x 28 bytes in
    POST /TOKEN/api/twins               28 x 28 bytes in; begins, moves and shows a pair of twins
    GET  /TOKEN/api/check               the gradient check of a wrong layer

Arrays travel as safetensors files with facts in the metadata. What is wrong with a request is answered with
4xx and one line, and changes nothing. Nobody gets in without the token; a page of another site, which cannot
know it, is refused by its Origin as well, and a name that is made to point here by its Host.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import re
import secrets
import socket
import sys
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from safetensors.numpy import save as save_arrays

from minicnn.data.photo import SIDE
from minicnn.explore.answer import Answer
from minicnn.explore.pair import STOP
from minicnn.explore.pairs import check_of
from minicnn.explore.session import PAD, TEST_PIECE, Session
from minicnn.explore.switches import Switch, parse_switches
from minicnn.explore.worker import Superseded

TESTED = 1000  # test images that show what switching off does
MOST_DIGITS, MOST_UNITS, MOST_NEAREST = 200, 20, 50  # in one answer
LINGER, MOST_THROWN_AWAY = 0.5, 1 << 22  # seconds without a byte, and bytes
HEARTBEAT = 10.0  # seconds between signs of life in the stream of events
TYPES = {  # Python's own table follows the registry of Windows, which any program may change
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
BINARY, TEXT, JSON = "application/octet-stream", "text/plain; charset=utf-8", "application/json"


class Refused(Exception):  # noqa: N818
    """A request that is answered with a status and one line."""

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(line)
        self.status = status


class ExploreServer(ThreadingHTTPServer):
    """Serves one session at `address` until `shutdown`. Port 0 takes a free one."""

    daemon_threads = True
    allow_reuse_address: bool = sys.platform != "win32"  # there, two servers could take the same port
    block_on_close = False

    session: Session
    token: str
    files: dict[str, tuple[bytes, str]]  # content and type, by path
    policy: str

    def __init__(self, session: Session, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.session, self.token, self.files = session, secrets.token_urlsafe(24), read_files()
        self.policy = content_policy(self.files["index.html"][0])

    @property
    def address(self) -> str:
        """What to open in the browser."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up in the middle of an answer is no error."""


def read_files() -> dict[str, tuple[bytes, str]]:
    """Content and type of each file of the page, by its path."""
    files: dict[str, tuple[bytes, str]] = {}

    def add(directory: Any, prefix: str) -> None:
        for entry in directory.iterdir():
            if entry.is_dir():
                add(entry, f"{prefix}{entry.name}/")
            else:
                suffix = entry.name[entry.name.rfind(".") :]
                kind = TYPES.get(suffix, "text/plain")
                if kind.startswith("text/"):
                    kind += "; charset=utf-8"
                files[f"{prefix}{entry.name}"] = entry.read_bytes(), kind

    add(resources.files("minicnn.explore") / "static", "")
    return files


def content_policy(page: bytes) -> str:
    """Only what this server sends may run or load; the one script inside the page is known by its digest."""
    scripts = re.findall(rb"<script type=\"importmap\">(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def as_json(facts: Any) -> str:
    """Facts as JSON, which has no NaN and no infinity: these become null."""

    def finite(value: Any) -> Any:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, dict):
            return {name: finite(item) for name, item in value.items()}
        return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value

    return json.dumps(finite(facts), allow_nan=False)


def as_safetensors(answer: Answer) -> bytes:
    """Arrays as a safetensors file, with the facts in its metadata."""
    arrays = {name: np.ascontiguousarray(array) for name, array in answer.arrays.items()}
    return save_arrays(arrays, {"facts": as_json(answer.facts)})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many strokes
    disable_nagle_algorithm = True
    timeout = 60  # seconds for a request to arrive
    server: ExploreServer

    def do_GET(self) -> None:
        names = ("about", "accuracy", "check", "digit", "digits", "events", "favourites")
        self._answer({name: getattr(self, f"_{name}") for name in names})

    def do_POST(self) -> None:
        names = ("drawing", "image", "trace", "nearest", "nudge", "occlusion", "twins")
        self._answer({name: getattr(self, f"_{name}") for name in names})

    def _answer(self, routes: dict[str, Callable[[], None]]) -> None:
        try:
            path = self._enter()
            if path.startswith("api/"):
                route = routes.get(path.removeprefix("api/"))
                if route is None:
                    raise Refused(HTTPStatus.NOT_FOUND, "no such question")
                route()
            elif self.command == "GET":
                self._file(path)
            else:
                raise Refused(HTTPStatus.NOT_FOUND, "no such question")
        except Refused as refused:
            self._refuse(refused.status, str(refused))
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error).splitlines()[0])
        except Superseded:  # the page has asked something newer
            self._send_bytes(b"", TEXT, HTTPStatus.NO_CONTENT)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _enter(self) -> str:
        """The path behind the token, once Host, Origin and token are known to be right."""
        port = self.server.server_port
        hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]
        if self.headers.get_all("Host", []) not in ([hosts[0]], [hosts[1]]):
            raise Refused(HTTPStatus.FORBIDDEN, f"Host: expected {hosts[0]}")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, f"Origin: expected http://{hosts[0]}")
        url = urlsplit(self.path)
        token, slash, path = url.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "use the address that minicnn explore has printed")
        self._query = parse_qs(url.query, max_num_fields=20)
        return path

    # --- questions ---

    def _about(self) -> None:
        self._send_json(self.server.session.about())

    def _digits(self) -> None:
        start, count = self._integer("start", 0, 10**9), self._integer("count", 1, MOST_DIGITS)
        self._send(self.server.session.digits(start, count))

    def _digit(self) -> None:
        index, training = self._integer("index", 0, 10**9), self._integer("training", 0, 1, 0)
        self._send(self.server.session.digit(index, bool(training)))

    def _favourites(self) -> None:
        units = self._text("units").split(",")
        if len(units) > MOST_UNITS or not all(re.fullmatch(r"\d{1,9}", unit, re.ASCII) for unit in units):
            raise ValueError(f"units: expected up to {MOST_UNITS} integers")
        self._send(self.server.session.favourites([int(unit) for unit in units]))

    def _occlusion(self) -> None:
        image, off = self._pixels(), self._off()
        a, b = self._integer("a", 0, 9), self._integer("b", 0, 9)
        self._send(self._computed(lambda: self.server.session.occlusion(image, a, b, off)))

    def _nearest(self) -> None:
        image, count = self._pixels(), self._integer("count", 1, MOST_NEAREST)
        self._send(self.server.session.nearest(image, count, self._computed))

    def _drawing(self) -> None:
        pixels, centre = self._body(PAD), bool(self._integer("centre", 0, 1))
        label, gradients, off = self._label(), bool(self._integer("gradients", 0, 1)), self._off()
        session = self.server.session
        self._send(self._computed(lambda: session.answer_to_drawing(pixels, centre, label, gradients, off)))

    def _image(self) -> None:
        image, label, off = self._pixels(), self._label(), self._off()
        gradients = bool(self._integer("gradients", 0, 1))
        session = self.server.session
        self._send(self._computed(lambda: session.answer_to_image(image, label, gradients, off)))

    def _trace(self) -> None:
        image, label, number, off = self._pixels(), self._label(), self._number(), self._off()
        self._send(self._computed(lambda: self.server.session.trace(image, label, *number, off)))

    def _nudge(self) -> None:
        image, label, number, off = self._pixels(), self._label(), self._number(), self._off()
        h = float(self._text("h"))
        self._send_json(self._computed(lambda: self.server.session.nudge(image, label, *number, h, off)))

    def _accuracy(self) -> None:
        off, session = self._off(), self.server.session
        total, correct = min(TESTED, len(session.data.test)), 0
        for start in range(0, total, TEST_PIECE):  # piece by piece, so that strokes come in between
            count = min(TEST_PIECE, total - start)
            correct += self._computed(partial(session.correct, start, count, off))
        self._send_json({"correct": correct, "total": total})

    def _twins(self) -> None:
        image, client, what = self._pixels(), self._client(), self._text("do")
        pairs = self.server.session.pairs
        if what == "begin":
            names = self._text("difference"), self._text("a"), self._text("b")
            pairs.begin(client, *names, self._integer("seed", 0, 1 << 31))
        elif what == "go":
            pairs.go(client, self._integer("to", 0, STOP))
        elif what == "pause":
            pairs.pause(client)
        elif what != "look":
            raise ValueError(f"do: expected begin, go, pause or look, got {what!r}")
        self._send(self.server.session.worker.do(lambda: pairs.look(client, image)))

    def _check(self) -> None:
        self._send_json(check_of(self._text("gradient")))  # in NumPy alone, so it may run beside the worker

    def _events(self) -> None:
        client = self._query.get("client", [""])[0]
        self._head(HTTPStatus.OK, "text/event-stream", None)
        self.close_connection = True
        seen = 0
        while True:
            seen, events = self.server.session.events(seen, HEARTBEAT, client)
            lines = [f"data: {as_json(event)}\n\n" for event in events] or [": still here\n\n"]
            self.wfile.write("".join(lines).encode())
            if any(event["kind"] == "closed" for event in events):
                return

    def _computed(self, job: Callable[[], Any]) -> Any:
        client, number = self._query.get("client", [""])[0], self._integer("number", 0, 1 << 53, 0)
        return self.server.session.worker.do(job, client[:64], number)

    # --- what a request says ---

    def _text(self, name: str) -> str:
        values = self._query.get(name, [])
        if len(values) != 1:
            raise ValueError(f"{name}: expected it once, got it {len(values)} times")
        return values[0]

    def _integer(self, name: str, least: int, most: int, default: int | None = None) -> int:
        if default is not None and name not in self._query:
            return default
        text = self._text(name)
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"{name}: expected an integer from {least} to {most}")
        return int(text)

    def _client(self) -> str:
        client = self._text("client")
        if not re.fullmatch(r"[0-9a-f]{1,64}", client):
            raise ValueError("client: expected up to 64 hexadecimal digits")
        return client

    def _off(self) -> tuple[Switch, ...]:
        return parse_switches(self._query.get("off", [""])[0])

    def _label(self) -> int | None:
        return self._integer("label", 0, 9) if "label" in self._query else None

    def _number(self) -> tuple[str, str, int]:
        return self._text("what"), self._text("name"), self._integer("place", 0, 1 << 31)

    def _pixels(self) -> np.ndarray:
        return np.frombuffer(self._body(SIDE), np.uint8).reshape(SIDE, SIDE)

    def _body(self, side: int) -> bytes:
        """side * side bytes; nothing else is read."""
        length = self.headers.get("Content-Length")
        if length is None or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length: expected one")
        if length != str(side * side):
            status = HTTPStatus.BAD_REQUEST
            if length.isdecimal() and int(length) > side * side:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise Refused(status, f"body: expected {side} x {side} bytes")
        body = self.rfile.read(side * side)
        if len(body) != side * side:
            raise Refused(HTTPStatus.BAD_REQUEST, f"body: expected {side} x {side} bytes, got {len(body)}")
        return body

    # --- answers ---

    def _file(self, path: str) -> None:
        found = self.server.files.get(path or "index.html")
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, "no such file")
        self._send_bytes(*found)

    def _send(self, answer: Answer) -> None:
        self._send_bytes(as_safetensors(answer), BINARY)

    def _send_json(self, facts: Any) -> None:
        self._send_bytes(as_json(facts).encode(), JSON)

    def _send_bytes(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(status, kind, len(content))
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, line: str) -> None:
        self.close_connection = True
        try:
            self._send_bytes(f"{line}\n".encode(), TEXT, status)
            self._let_the_answer_arrive()
        except OSError:
            pass

    def _let_the_answer_arrive(self) -> None:
        """Throw away some of a body that is still on its way: closing now would lose the answer, too."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LINGER)
        thrown_away = 0
        while thrown_away < MOST_THROWN_AWAY and (piece := self.connection.recv(65536)):
            thrown_away += len(piece)

    def _head(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if length is None or self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, such as an unknown method: one line, too."""
        try:
            status = HTTPStatus(code)
        except ValueError:
            status = HTTPStatus.BAD_REQUEST
        self._refuse(status if status < 500 else HTTPStatus.METHOD_NOT_ALLOWED, message or status.phrase)

    def version_string(self) -> str:
        return "minicnn"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests are of no interest, and their addresses contain the token."""
