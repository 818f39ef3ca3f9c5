"""The page without Python: its files, the weights, and some test images, for any web server.

    index.html, *.js, ...        the page, as `minicnn explore` serves it
    local/                       what answers its questions: the layers in JavaScript
    data/about.json              what the page knows of the network
    data/weights.safetensors     all parameters, float32
    data/images.safetensors      test images: mistakes first, and what each unit likes

Nothing is trained there; everything else works as it does with the server.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from minicnn.data import Dataset
from minicnn.engine.network import Sequential
from minicnn.explore.answer import Answer
from minicnn.explore.digits import mistakes_first
from minicnn.explore.maps import unfused
from minicnn.explore.server import as_json, as_safetensors, content_policy, read_files
from minicnn.explore.session import LIKED, describe, expect_images
from minicnn.explore.why import Favourites

SAMPLE = 1000  # test images to choose from
TESTED = 250  # test images that show what switching off does: JavaScript takes its time


def exported(network: Sequential, data: Dataset, name: str) -> dict[str, bytes]:
    """The contents of all files of the page, by their path in it.

    Raises ValueError for a network or data that the page cannot show.
    """
    expect_images(data)
    shown = unfused(network)
    images, news = _images(network, shown, data)
    about = describe(shown, data, name) | {"news": news}
    weights = {p.name: p.value.astype(np.float32) for p in shown.parameters()}
    files = {path: content for path, (content, _) in read_files().items()}
    files["index.html"] = _without_server(files["index.html"])
    return files | {
        "data/about.json": as_json(about).encode(),
        "data/weights.safetensors": as_safetensors(Answer(weights, {})),
        "data/images.safetensors": as_safetensors(images),
    }


def _images(network: Sequential, shown: Sequential, data: Dataset) -> tuple[Answer, list[dict[str, Any]]]:
    """The test images that the page may ask for, each once, and what a server would have told of them."""
    test = data.test
    probabilities = network.predict(test.images)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    favourites = Favourites(shown)
    for _ in favourites.look_at_all(test.images[:LIKED]):
        pass
    order, tested = mistakes_first(test.labels, probabilities)[:SAMPLE], np.arange(min(TESTED, len(test)))
    liked = np.maximum(favourites.images, 0)
    kept = np.unique(np.concatenate([order, tested, liked.ravel()]))

    def places(numbers: np.ndarray) -> np.ndarray:
        return np.searchsorted(kept, numbers).astype(np.int32)

    arrays = {
        "index": kept.astype(np.int32),
        "images": test.images[kept],
        "labels": test.labels[kept].astype(np.uint8),
        "order": places(order),
        "predicted": predicted[order].astype(np.int32),
        "confidence": confidence[order].astype(np.float32),
        "tested": places(tested),
        "liked": places(liked),
        "values": favourites.values,
    }
    correct, total = int((predicted == test.labels).sum()), len(test)
    facts = {
        "digits": {"wrong": total - correct, "total": total, "sample": len(order)},
        "favourites": {"known": True, "of": min(LIKED, total)},
    }
    news: list[dict[str, Any]] = [
        {"kind": "tested", "correct": correct, "total": total},
        {"kind": "favourites"},
    ]
    return Answer(arrays, facts), news


def _without_server(page: bytes) -> bytes:
    """The page with the other answers to its questions, and the policy that the server would have sent."""
    page, count = re.subn(rb'"\./api\.js": "\./api\.js"', b'"./api.js": "./local/api.js"', page)
    assert count == 1
    policy = content_policy(page).replace("; frame-ancestors 'none'", "")  # which counts in a header only
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />\n    '
    return page.replace(b"<title>", meta.encode() + b"<title>")
