"""Twins and nearest digits through the server of `minicnn explore`: orders, events, and hostile requests."""

import json
import math
import time

import numpy as np
import pytest
from runs import DATA
from safetensors.numpy import load as load_arrays
from test_explore_server import BLANK, ask, assert_refused, facts_of, server  # noqa: F401

from minicnn.explore.pair import STOP
from minicnn.explore.pairs import MOST


def order(server, client, image=BLANK, **query):  # noqa: F811
    query = {"client": client} | query
    path = "api/twins?" + "&".join(f"{name}={value}" for name, value in query.items())
    return ask(server, "POST", path, image)


def begin(server, client, difference="bias", a="tenth", b="zero", seed=0):  # noqa: F811
    return order(server, client, do="begin", difference=difference, a=a, b=b, seed=seed)


def wait(server, client, step=None, seconds=120):  # noqa: F811
    """The answer once the twins have arrived."""
    until = time.monotonic() + seconds
    while True:
        code, _, body = order(server, client, do="look")
        assert code == 200
        facts = facts_of(body)
        if not facts["running"] and step in (None, facts["step"]):
            return facts, load_arrays(body)
        assert time.monotonic() < until
        time.sleep(0.02)


def test_twins_go_on_and_back_as_they_are_told(server):  # noqa: F811
    assert begin(server, "a1")[0] == 200
    order(server, "a1", do="go", to=7)
    facts, arrays = wait(server, "a1", 7)
    assert arrays["losses"].shape == (7, 2)
    assert np.isfinite(arrays["losses"]).all()
    assert arrays["probabilities"].shape == (2, 10)
    assert arrays["filters"].shape == (2, 5, 5, 1, 8)
    assert arrays["dead"].shape == arrays["always"].shape == (3, 2)
    assert arrays["looks"].tolist() == [0, 7]
    order(server, "a1", do="go", to=3)
    facts, again = wait(server, "a1", 3)
    assert (facts["furthest"], facts["made_again"], facts["same"]) == (7, 3, True)
    np.testing.assert_array_equal(again["losses"], arrays["losses"])


def test_the_same_seed_gives_the_same_twins_to_two_pages(server):  # noqa: F811
    losses = []
    for client in ("b1", "b2"):
        begin(server, client)
        order(server, client, do="go", to=4)
    for client in ("b1", "b2"):
        losses.append(wait(server, client, 4)[1]["losses"])
    np.testing.assert_array_equal(*losses)
    begin(server, "b1", seed=1)
    order(server, "b1", do="go", to=4)
    assert (wait(server, "b1", 4)[1]["losses"] != losses[0]).all()


def test_twins_that_run_can_be_stopped(server):  # noqa: F811
    begin(server, "c1")
    order(server, "c1", do="go", to=STOP)
    while facts_of(order(server, "c1", do="look")[2])["step"] < 2:
        time.sleep(0.01)
    order(server, "c1", do="pause")
    facts, _ = wait(server, "c1")
    assert 2 <= facts["step"] < STOP
    time.sleep(0.2)
    assert facts_of(order(server, "c1", do="look")[2])["step"] == facts["step"]


def test_an_image_is_answered_while_twins_run(server):  # noqa: F811
    begin(server, "d1")
    order(server, "d1", do="go", to=STOP)
    for image in DATA.test.images:
        assert ask(server, "POST", "api/image?gradients=0", image.tobytes())[0] == 200
    assert facts_of(order(server, "d1", do="look")[2])["running"]
    order(server, "d1", do="pause")
    wait(server, "d1")


def test_no_number_and_infinity_arrive_as_what_they_are(server):  # noqa: F811
    begin(server, "e1", "loss", "joint", "naive")
    order(server, "e1", do="go", to=2)
    facts, arrays = wait(server, "e1", 2)
    assert facts["diverged"] == [None, 1]
    assert not np.isfinite(arrays["losses"][:, 1]).any()
    assert np.isfinite(arrays["losses"][:, 0]).all()
    assert math.isinf(arrays["losses"][0, 1])


def test_only_the_page_itself_hears_of_its_twins(server):  # noqa: F811
    begin(server, "f1")
    order(server, "f1", do="go", to=2)
    wait(server, "f1", 2)
    session = server.session
    until = time.monotonic() + 20
    while not any(event["kind"] == "twins" for event in session.events(0, 0.0, "f1")[1]):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not any(event.get("client", "f2") != "f2" for event in session.events(0, 0.0, "f2")[1])


def test_old_pairs_make_room(server):  # noqa: F811
    for client in range(MOST + 1):
        begin(server, f"a{client}")
    assert_refused(order(server, "a0", do="look"), 400)
    assert order(server, f"a{MOST}", do="look")[0] == 200
    for client in range(1, MOST + 1):
        wait(server, f"a{client}")


@pytest.mark.parametrize(
    "query",
    [
        {"do": "look"},
        {"do": "go", "to": 5},
        {"do": "pause"},
        {"do": "begin"},
        {"do": "begin", "difference": "colour", "a": "x", "b": "y", "seed": 0},
        {"do": "begin", "difference": "bias", "a": "tenth", "b": "tenth", "seed": 0},
        {"do": "begin", "difference": "bias", "a": "tenth", "b": "zero", "seed": -1},
        {"do": "begin", "difference": "bias", "a": "tenth", "b": "__class__", "seed": 0},
        {"do": "go", "to": STOP + 1},
        {"do": "fly"},
        {},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(server, query):  # noqa: F811
    assert_refused(order(server, "99", **query), 400)


@pytest.mark.parametrize("client", ["", "x", "A1", "..", "f" * 65, "%0a"])
def test_a_page_has_a_name_of_hexadecimal_digits(server, client):  # noqa: F811
    assert_refused(order(server, client, do="look"), 400)


def test_the_gradient_check_is_one_of_a_wrong_layer(server):  # noqa: F811
    code, _, body = ask(server, "GET", "api/check?gradient=bias")
    assert code == 200
    facts = json.loads(body)
    assert (facts["right"]["ok"], facts["wrong"]["ok"]) == (True, False)
    assert_refused(ask(server, "GET", "api/check?gradient=all"), 400)


def test_the_nearest_training_images_are_known_once_all_have_been_looked_at(server):  # noqa: F811
    image = DATA.train.images[4].tobytes()
    until = time.monotonic() + 120
    while True:
        code, _, body = ask(server, "POST", "api/nearest?count=3", image)
        assert code == 200
        if facts_of(body)["known"]:
            break
        assert time.monotonic() < until
        time.sleep(0.05)
    arrays = load_arrays(body)
    assert arrays["index"][0] == 4
    assert arrays["distance"].tolist() == sorted(arrays["distance"].tolist())
    np.testing.assert_array_equal(arrays["images"], DATA.train.images[arrays["index"]])
    np.testing.assert_array_equal(arrays["label"], DATA.train.labels[arrays["index"]])


@pytest.mark.parametrize("query", ["", "count=0", "count=51", "count=x"])
def test_a_number_of_nearest_images_that_makes_no_sense_is_refused(server, query):  # noqa: F811
    assert_refused(ask(server, "POST", f"api/nearest?{query}", BLANK), 400)
