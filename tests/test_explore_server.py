"""The server of `minicnn explore`: only here, only with the token, and hostile requests change nothing."""

import http.client
import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from commands import assert_usage_error, run_main, start_explore
from runs import DATA, new_run, write_data
from safetensors.numpy import load as load_arrays

from minicnn import tutorial_network
from minicnn.data import Dataset, Split
from minicnn.explore.server import ExploreServer, as_json, content_policy, read_files
from minicnn.explore.session import Session
from minicnn.explore.worker import Superseded, Worker

BLANK = bytes(784)


@pytest.fixture(scope="module")
def server():
    session = Session(tutorial_network(ops="reference"), DATA, "a network")
    with ExploreServer(session) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    session.close()


def ask(server, method, path, body=None, headers=(), token=None):
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        address = f"/{server.token if token is None else token}/{path}"
        connection.request(method, address, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def raw(server, data):
    """What the server answers to these bytes, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer


def facts_of(body):
    length = int.from_bytes(body[:8], "little")
    return json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["facts"])


def assert_refused(answer, status):
    code, headers, body = answer
    assert code == status
    assert headers["Content-Type"].startswith("text/plain")
    assert re.fullmatch(rb"[^\n]+\n", body)
    assert b"Traceback" not in body


# --- what it is for -------------------------------------------------------------------------------


def test_the_page_and_its_files_are_served(server):
    code, headers, body = ask(server, "GET", "")
    assert code == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"app.js" in body
    for name in server.files:
        assert ask(server, "GET", name)[0] == 200


def test_the_answer_to_an_image_is_that_of_the_network(server):
    image = DATA.test.images[0]
    code, _, body = ask(server, "POST", "api/image?gradients=1&label=3", image.tobytes())
    assert code == 200
    arrays = load_arrays(body)
    np.testing.assert_array_equal(arrays["image8"], image)
    expected = tutorial_network(ops="reference").predict(image[None])[0]
    np.testing.assert_allclose(arrays["softmax"], expected, atol=1e-6)
    assert arrays["conv2"].shape == arrays["d/conv2"].shape == (14, 14, 64)
    assert facts_of(body)["label"] == 3


def test_a_drawing_is_centred_only_if_asked(server):
    pad = np.zeros((140, 140), np.uint8)
    pad[10:30, 10:14] = 255  # a small 1 in a corner
    images = {}
    for centre in (0, 1):
        code, _, body = ask(server, "POST", f"api/drawing?gradients=0&centre={centre}", pad.tobytes())
        assert code == 200
        images[centre] = load_arrays(body)["image8"]
    np.testing.assert_array_equal(images[0], np.rint(pad.reshape(28, 5, 28, 5).mean(axis=(1, 3))))
    rows, columns = (np.average(np.arange(28), weights=images[1].sum(axis=axis)) for axis in (1, 0))
    assert abs(rows - 14) <= 1
    assert abs(columns - 14) <= 1


def test_a_stroke_along_the_edge_of_the_pad_counts(server):
    pad = np.zeros((140, 140), np.uint8)
    pad[:, :6] = 255
    pad[65:75, 30:100] = 255
    _, _, body = ask(server, "POST", "api/drawing?gradients=0&centre=1", pad.tobytes())
    image = load_arrays(body)["image8"]
    assert np.ptp(np.flatnonzero(image.any(axis=1))) == 19  # the stroke at the edge decides the height


def test_an_empty_drawing_is_blank_paper(server):
    code, _, body = ask(server, "POST", "api/drawing?gradients=0&centre=1", bytes(140 * 140))
    assert code == 200
    assert not load_arrays(body)["image8"].any()


def test_a_trace_has_its_last_line(server):
    code, _, body = ask(
        server, "POST", "api/trace?what=value&name=conv2&place=77", DATA.test.images[0].tobytes()
    )
    assert code == 200
    facts, arrays = facts_of(body), load_arrays(body)
    total = facts["constant"] + float((arrays["left"].astype(float) * arrays["right"].astype(float)).sum())
    assert facts["by_hand"] == pytest.approx(total, rel=1e-12)
    assert facts["difference"] == facts["by_hand"] - facts["value"]
    assert abs(facts["difference"]) < 1e-5


def test_a_nudge_answers_with_the_finite_difference(server):
    image = DATA.test.images[0].tobytes()
    code, _, body = ask(
        server, "POST", "api/nudge?label=3&what=parameter&name=fc2.bias&place=3&h=0.0001", image
    )
    assert code == 200
    facts = json.loads(body)
    assert facts["gradient"] == pytest.approx((facts["above"] - facts["below"]) / 2e-4)
    _, _, body = ask(server, "POST", "api/trace?label=3&what=parameter&name=fc2.bias&place=3", image)
    assert facts["gradient"] == pytest.approx(facts_of(body)["value"], abs=1e-5)


def test_mistakes_come_first_once_all_are_tested(server):
    until = time.monotonic() + 60
    while facts_of(ask(server, "GET", "api/digits?start=0&count=10")[2])["wrong"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    arrays = load_arrays(ask(server, "GET", "api/digits?start=0&count=10")[2])
    wrong = arrays["label"] != arrays["predicted"]
    assert wrong.tolist() == sorted(wrong.tolist(), reverse=True)
    confidence = arrays["confidence"][wrong]
    assert confidence.tolist() == sorted(confidence.tolist(), reverse=True)
    assert sorted(arrays["index"]) == list(range(10))


def test_one_test_image_is_answered_by_its_number(server):
    code, _, body = ask(server, "GET", "api/digit?index=3")
    assert code == 200
    assert load_arrays(body)["image"].tobytes() == DATA.test.images[3].tobytes()
    assert facts_of(body) == {"index": 3, "label": int(DATA.test.labels[3])}


def test_events_tell_what_happened_before_one_listened(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", f"/{server.token}/api/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    line = response.readline()
    while not line.startswith(b"data:"):
        line = response.readline()
    connection.close()
    assert json.loads(line[5:])["kind"] == "tested"


def test_many_may_ask_at_once(server):
    images = [image.tobytes() for image in DATA.test.images] * 3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda image: ask(server, "POST", "api/image?gradients=0", image)[2], images))
    for image, answer in zip(images, answers, strict=True):
        assert load_arrays(answer)["image8"].tobytes() == image


# --- who may ask ----------------------------------------------------------------------------------


def test_it_listens_on_this_machine_only(server):
    assert server.server_address[0] == "127.0.0.1"


def test_the_token_is_long_and_different_each_time(server):
    assert len(server.token) >= 32
    with ExploreServer(server.session) as other:
        assert other.token != server.token


@pytest.mark.parametrize("token", ["", "wrong", "../", "%00", "é"])
def test_without_the_token_nothing_is_answered(server, token):
    for method, path in (("GET", ""), ("GET", "api/about"), ("POST", "api/image?gradients=0")):
        address = f"/{token}/{path}".encode("utf-8", "ignore").decode("latin-1")
        request = f"{method} {address} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
        answer = raw(server, request.encode("latin-1"))
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert server.token.encode() not in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_host_is_refused(server, host):
    answer = ask(server, "GET", "", headers={"Host": host.format(port=server.server_port)})
    assert_refused(answer, 403)


def test_two_hosts_are_refused(server):
    port = server.server_port
    request = f"GET /{server.token}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\n\r\n"
    assert raw(server, request.encode()).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"]
)
def test_another_origin_is_refused(server, origin):
    headers = {"Origin": origin.format(port=server.server_port)}
    assert_refused(ask(server, "POST", "api/image?gradients=0", BLANK, headers), 403)


def test_its_own_origin_is_accepted(server):
    headers = {"Origin": f"http://127.0.0.1:{server.server_port}"}
    assert ask(server, "POST", "api/image?gradients=0", BLANK, headers)[0] == 200


# --- what one may ask -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("api/nothing", 404),
        ("nothing.js", 404),
        ("../server.py", 404),
        ("..%2fserver.py", 404),
        ("vendor/../../server.py", 404),
        ("api/digits", 400),
        ("api/digit", 400),
        ("api/digit?index=1000000", 400),
        ("api/digit?index=-1", 400),
        ("api/digits?start=-1&count=5", 400),
        ("api/digits?start=0&count=100000", 400),
        ("api/digits?start=0&start=1&count=5", 400),
        ("api/digits?start=0x1&count=5", 400),
        ("api/digits?start=%D9%A1&count=5", 400),
        ("api/digits?" + "&".join(f"a{i}=1" for i in range(100)), 400),
        ("api/image?gradients=0", 404),
        ("api/favourites?units=1,x", 400),
        ("api/favourites?units=" + ",".join("1" * 21), 400),
        ("api/accuracy?off=conv9.1", 400),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(server, path, status):
    assert_refused(ask(server, "GET", path), status)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("image", 400),
        ("image?gradients=2", 400),
        ("image?gradients=0&label=10", 400),
        ("image?gradients=0&label=seven", 400),
        ("trace?what=value&name=conv9&place=0", 400),
        ("trace?what=value&name=conv1&place=99999999999999999999", 400),
        ("trace?what=value&name=conv1&place=2000000000", 400),
        ("trace?what=secret&name=conv1&place=0", 400),
        ("trace?what=value&name=__class__&place=0", 400),
        ("nudge?what=value&name=conv1&place=0&h=nan", 400),
        ("nudge?what=value&name=conv1&place=0&h=1e400", 400),
        ("nudge?what=value&name=conv1&place=0&h=x", 400),
        ("image?gradients=0&off=conv1", 400),
        ("image?gradients=0&off=fc2.1", 400),
        ("image?gradients=0&off=conv1.99", 400),
        ("occlusion?a=1&b=10", 400),
        ("about", 404),
        ("image%00?gradients=0", 404),
    ],
)
def test_an_image_with_a_question_that_makes_no_sense_is_refused(server, query, status):
    assert_refused(ask(server, "POST", f"api/{query}", BLANK), status)


@pytest.mark.parametrize("size", [0, 1, 783, 785, 10**6])
def test_a_body_of_another_size_is_refused(server, size):
    answer = ask(server, "POST", "api/image?gradients=0", b"x" * size)
    assert_refused(answer, 413 if size > 784 else 400)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Content-Length: 99999999999\r\n", 413),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: +784\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 784\r\nTransfer-Encoding: chunked\r\n", 411),
        ("", 411),
    ],
)
def test_a_body_that_is_not_announced_well_is_never_read(server, headers, status):
    head = f"POST /{server.token}/api/image?gradients=0 HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
    answer = raw(server, f"{head}{headers}\r\n{{'odd': json".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"\n")


def test_a_body_that_ends_too_early_is_refused(server):
    head = f"POST /{server.token}/api/image?gradients=0 HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
    assert raw(server, f"{head}Content-Length: 784\r\n\r\nshort".encode()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "BREW"])
def test_other_methods_are_refused(server, method):
    head = f"{method} /{server.token}/ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n"
    answer = raw(server, head.encode())
    assert answer.startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"A" * 70_000])
def test_what_is_no_http_does_no_harm(server, data):
    raw(server, data)
    assert ask(server, "GET", "api/about")[0] == 200


def test_after_all_that_it_still_answers(server):
    assert ask(server, "POST", "api/image?gradients=1", BLANK)[0] == 200


# --- what it sends --------------------------------------------------------------------------------


def test_the_page_may_load_nothing_from_elsewhere(server):
    policy = ask(server, "GET", "")[1]["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe" not in policy
    assert "http" not in policy
    assert re.search(r"script-src 'self' 'sha256-[\w+/=]{44}'", policy)


def test_the_policy_knows_the_one_script_in_the_page():
    page = read_files()["index.html"][0]
    assert page.count(b"<script") == 2  # the import map, and the module
    assert content_policy(page) != content_policy(page.replace(b"vendor", b"other"))


def test_numbers_that_json_does_not_have_become_null():
    facts = {"a": float("nan"), "b": [1.5, float("inf")], "c": "NaN", "d": 3}
    assert json.loads(as_json(facts)) == {"a": None, "b": [1.5, None], "c": "NaN", "d": 3}


def test_data_of_another_shape_is_refused_in_one_line():
    images = np.zeros((2, 32, 32), np.uint8)
    split = Split(images, np.zeros(2, np.uint8))
    with pytest.raises(
        ValueError, match=r"data: expected images \[28, 28\] of up to 10 classes, got \[32, 32\]"
    ):
        Session(tutorial_network(ops="reference"), Dataset(split, split, split))


# --- the worker -----------------------------------------------------------------------------------


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()


def test_a_newer_question_of_the_same_page_supersedes_an_older_one(worker):
    started, go_on = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert go_on.wait(10)
        return "slow"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(worker.do, slow, "page", 1)
        started.wait(10)
        old = pool.submit(worker.do, lambda: "old", "page", 2)
        other = pool.submit(worker.do, lambda: "other", "another page", 1)
        time.sleep(0.05)  # they wait in the queue
        new = pool.submit(worker.do, lambda: "new", "page", 3)
        time.sleep(0.05)
        go_on.set()
        assert (first.result(10), other.result(10), new.result(10)) == ("slow", "other", "new")
        with pytest.raises(Superseded):
            old.result(10)


def test_a_superseded_question_is_answered_with_nothing(server, monkeypatch):
    def superseded(*arguments):
        raise Superseded("a newer request has arrived")

    monkeypatch.setattr(server.session.worker, "do", superseded)
    code, _, body = ask(server, "POST", "api/image?gradients=0", BLANK)
    assert (code, body) == (204, b"")


def test_a_job_that_fails_fails_for_the_one_who_asked(worker):
    with pytest.raises(ZeroDivisionError):
        worker.do(lambda: 1 // 0)
    assert worker.do(lambda: 5) == 5


def test_work_in_the_background_lets_jobs_through_and_ends(worker):
    steps = []

    def work():
        for step in range(50):
            steps.append(step)
            time.sleep(0.001)
            yield

    worker.in_background(work())
    assert worker.do(lambda: len(steps)) < 50
    until = time.monotonic() + 10
    while len(steps) < 50 and time.monotonic() < until:
        time.sleep(0.01)
    assert steps == list(range(50))


def test_a_closed_worker_refuses(worker):
    worker.close()
    with pytest.raises(Superseded):
        worker.do(lambda: 1)


# --- the command ----------------------------------------------------------------------------------


def run_with_data(tmp_path):
    """A run without kernels, and data on the disk that its settings name."""
    write_data(tmp_path)
    run = new_run(tmp_path / "run", model="softmax", data=DATA)
    file = run.directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data": str(tmp_path)}))
    return run


def test_ctrl_c_stops_it_and_the_run_is_as_it_was(tmp_path):
    run = run_with_data(tmp_path)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.directory.iterdir()}
    process, address = start_explore(run.directory)
    try:
        host, token = re.fullmatch(r"http://([\d.:]+)/(\S+)/", address).groups()
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.request("POST", f"/{token}/api/image?gradients=1", BLANK)
        response = connection.getresponse()
        assert response.status == 200
        assert "fc" in load_arrays(response.read())
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "minicnn: interrupted\n"
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.directory.iterdir()} == before


def test_what_cannot_be_explored_is_refused_in_one_line(capsys, tmp_path):
    assert_usage_error(run_main(capsys, "explore", tmp_path / "none"), "none", "no such file")
    assert_usage_error(run_main(capsys, "explore", "--port", "70000"), "--port", "70000")
    assert_usage_error(run_main(capsys, "explore", tmp_path), tmp_path, "holds no run")


def test_a_port_in_use_is_refused_in_one_line(capsys, tmp_path):
    run = run_with_data(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_main(capsys, "explore", run.directory, "--port", port)
        assert_usage_error(result, "--port", port)
