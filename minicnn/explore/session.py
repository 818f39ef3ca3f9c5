"""What the page can ask for, as plain arrays and facts: nothing here knows of HTTP.

A session shows one network. Images come with every question, so a question needs nothing that an earlier one
left. `version` counts how often the weights have changed: an answer says which weights it is from.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minicnn._version import __version__
from minicnn.data import Dataset, to_float
from minicnn.data.photo import SIDE, ImageError, preprocess_ink
from minicnn.engine.network import Sequential
from minicnn.explore import source
from minicnn.explore.answer import Answer
from minicnn.explore.backward import trace_gradient, trace_parameter
from minicnn.explore.digits import mistakes_first
from minicnn.explore.forward import trace_output
from minicnn.explore.maps import CLASSES, Array, Maps, compute_maps, stages_of, unfused
from minicnn.explore.nearest import Features, nearest
from minicnn.explore.nudge import in_double, nudge
from minicnn.explore.pairs import Pairs
from minicnn.explore.switches import Switch, switched_off
from minicnn.explore.trace import Trace
from minicnn.explore.why import Favourites, occlusion, trace_lead
from minicnn.explore.worker import Worker
from minicnn.runs.run import Run
from minicnn.tutorial import Diverged

PAD = 140  # rows and columns of a drawing as it is sent: a multiple of 28
SHOW_EVERY = 0.25  # seconds between two signs of progress, such as the weights while a network trains
LIKED = 2000  # test images among which each unit has its favourites
TEST_PIECE = 100  # test images classified at a time, so that nobody waits long
MOST_CLIENTS = 100  # whose events are remembered: the oldest are of pages that were closed long ago


Off = tuple[Switch, ...]  # filters and units that are switched off


class Session:
    """One network, the test images, and perhaps a training, behind the questions of the page.

    `run` is a run whose steps are made in the background; then `network` is what it trains, and is copied for
    showing now and then. Raises ValueError for a network or data that the page cannot show.
    """

    data: Dataset
    name: str
    version: int  # of the weights that are shown
    worker: Worker
    pairs: Pairs  # the twins of each page

    def __init__(self, network: Sequential, data: Dataset, name: str = "", run: Run | None = None) -> None:
        self._given, self._network = network, unfused(network)
        expect_images(data)
        self.data, self.name, self._run = data, name, run
        self.version = 0
        self._switched: tuple[tuple, Sequential] | None = None  # the last one that was asked for
        self._double: tuple[tuple, Sequential] | None = None
        self._last: tuple[tuple, Maps] | None = None  # what was computed last, and about what
        self._favourites: Favourites | None = None  # once all images have been looked at
        self._features: Features | None = None  # of the training images, likewise
        self._tested: Array | None = None  # probabilities of all test images
        self._events: list[dict[str, Any]] = []  # the latest of each kind
        self._news = threading.Condition()
        if network.layers[0].ops == "kernels":
            from minicnn.engine.kernels.dry_run import on_first_compilation

            on_first_compilation(lambda: self._publish("compiling"))
        self.worker = Worker()
        self.pairs = Pairs(
            data,
            network.layers[0].ops,
            self.worker,
            lambda client, facts: self._publish("twins", client, **facts),
        )
        if run is not None:
            self.worker.in_background(self._train(run))
        else:
            self.worker.in_background(self._test())

    def close(self) -> None:
        """Stop computing, and let everyone who waits for events go on."""
        self.worker.close()
        with self._news:
            self._events = [{"kind": "closed"}]
            self._news.notify_all()

    # --- questions ---

    def about(self) -> dict[str, Any]:
        """What the page needs to know once: stages, parameters, the lines of the reference."""
        described = describe(self._network, self.data, self.name, self._run)
        return described | {"twins": self.pairs.about()}

    def answer_to_drawing(
        self, pixels: bytes, centre: bool, label: int | None, gradients: bool, off: Off = ()
    ) -> Answer:
        """The maps of a drawing, PAD x PAD bytes of ink; preprocessed as MNIST was, or only scaled down."""
        ink = np.frombuffer(pixels, np.uint8).reshape(PAD, PAD)
        if centre:
            try:  # the frame of paper: a stroke at the edge of the pad is no shadow
                _, image = preprocess_ink(np.pad(ink, 8).astype(np.float32) / 255)
            except ImageError:
                image = np.zeros((SIDE, SIDE), np.uint8)
        else:
            cell = PAD // SIDE
            means = ink.reshape(SIDE, cell, SIDE, cell).mean(axis=(1, 3))
            image = np.rint(means).astype(np.uint8)
        return self.answer_to_image(image, label, gradients, off)

    def answer_to_image(self, image: Array, label: int | None, gradients: bool, off: Off = ()) -> Answer:
        """The maps of an image uint8 [28, 28]. Without a label, the loss is that of the network's answer."""
        maps = self._maps(image, label, gradients, off)
        arrays = {"image8": image, "softmax": maps.probabilities}
        arrays |= {stage.name: output for stage, output in zip(maps.stages, maps.outputs, strict=True)}
        if gradients:
            arrays |= {f"d/{stage.name}": g for stage, g in zip(maps.stages, maps.gradients, strict=True)}
        return Answer(arrays, {"version": self.version, "label": maps.label, "loss": maps.loss})

    def trace(
        self, image: Array, label: int | None, what: str, name: str, place: int, off: Off = ()
    ) -> Answer:
        """The terms of one number: "value" or "gradient" of a stage, or gradient of a "parameter".

        Also of a "lead": that of digit `place` // 10 over digit `place` % 10.
        """
        maps = self._maps(image, label, what in ("gradient", "parameter"), off)
        traces = {
            "value": trace_output,
            "gradient": trace_gradient,
            "parameter": trace_parameter,
            "lead": lambda maps, name, place: trace_lead(maps, *divmod(place, 10)),
        }
        if what not in traces:
            raise ValueError(f"what: expected one of {', '.join(traces)}, got {what!r}")
        trace = traces[what](maps, name, place)
        facts: dict[str, Any] = {"version": self.version, "label": maps.label}
        if what == "parameter":
            parameter = next(p for p in self._shown(off).parameters() if p.name == name)
            facts["entry"] = float(parameter.value.reshape(-1)[place])
        return as_answer(trace, facts)

    def nudge(
        self,
        image: Array,
        label: int | None,
        what: str,
        name: str,
        place: int,
        h: float,
        off: Off = (),
    ) -> dict[str, Any]:
        """The loss with h more and with h less in one number, and the finite difference."""
        if self._double is None or self._double[0] != (self.version, off):
            self._double = (self.version, off), in_double(self._shown(off))
        label = self._maps(image, label, False, off).label
        x = to_float(image[None])[0]
        nudged = nudge(self._double[1], x, label, what, name, place, h)
        return dataclasses.asdict(nudged) | {"gradient": nudged.gradient, "version": self.version}

    def correct(self, start: int, count: int, off: Off = ()) -> int:
        """How many of `count` test images from number `start` are classified correctly."""
        test = self.data.test
        answers = self._shown(off).predict(test.images[start : start + count]).argmax(axis=1)
        return int((answers == test.labels[start : start + count]).sum())

    def occlusion(self, image: Array, a: int, b: int, off: Off = ()) -> Answer:
        """How the lead of digit a over b changes when paper covers each place."""
        change = occlusion(self._shown(off), to_float(image[None])[0], a, b)
        return Answer({"change": change}, {"version": self.version})

    def favourites(self, units: list[int]) -> Answer:
        """The test images that excite each of these inputs of the last layer most.

        Raises ValueError for one that does not exist.
        """
        found = self._favourites
        if found is None:
            return Answer({}, {"known": False})
        size = len(found.values)
        for unit in units:
            if not 0 <= unit < size:
                raise ValueError(f"unit: expected 0 to {size - 1}, got {unit}")
        places, values = found.images[units], found.values[units]
        images = self.data.test.images[np.maximum(places, 0)]
        arrays = {
            "images": images,
            "labels": self.data.test.labels[np.maximum(places, 0)].astype(np.uint8),
            "values": values,
        }
        return Answer(arrays, {"known": True, "of": min(LIKED, len(self.data.test))})

    def nearest(self, image: Array, count: int, do: Callable[[Callable[[], Any]], Any]) -> Answer:
        """The training images nearest to an image, with everything switched on; `do` computes the pieces.

        The first question lets them all be looked at, in the background, unless the network is still trained.
        """
        train, begins = self.data.train, False
        with self._news:  # two pages may ask at once
            if self._features is None and self._tested is not None:
                self._features, begins = Features(self._given, train.images), True
        if self._features is not None and begins:
            self.worker.in_background(self._look_at_training_images(self._features), "nearest")
        if self._features is None or self._features.seen < len(train):
            return Answer({}, {"known": False})
        found = nearest(self._features, image, count, do)
        arrays: dict[str, Array] = {
            "index": found.numbers.astype(np.int32),
            "label": train.labels[found.numbers].astype(np.uint8),
            "predicted": found.predicted.astype(np.int32),
            "distance": found.distances,
            "images": train.images[found.numbers],
        }
        return Answer(arrays, {"known": True, "total": len(train), "version": self.version})

    def digits(self, start: int, count: int) -> Answer:
        """Test images, the most confident mistakes first; until all have been tested, in their order."""
        test, tested = self.data.test, self._tested
        order = np.arange(len(test))
        predicted, confidence = np.full(len(test), -1), np.zeros(len(test), np.float32)
        if tested is not None:
            predicted, confidence = tested.argmax(axis=1), tested.max(axis=1)
            order = mistakes_first(test.labels, tested)
        chosen = order[start : start + count]
        arrays: dict[str, Array] = {
            "index": chosen.astype(np.int32),
            "label": test.labels[chosen].astype(np.uint8),
            "predicted": predicted[chosen].astype(np.int32),
            "confidence": confidence[chosen],
            "images": test.images[chosen],
        }
        wrong = None if tested is None else int((predicted != test.labels).sum())
        return Answer(arrays, {"wrong": wrong, "total": len(test)})

    def digit(self, index: int, training: bool = False) -> Answer:
        """One test image, or one of training. Raises ValueError for a number that none has."""
        split = self.data.train if training else self.data.test
        if not 0 <= index < len(split):
            raise ValueError(f"index: expected 0 to {len(split) - 1}, got {index}")
        return Answer({"image": split.images[index]}, {"index": index, "label": int(split.labels[index])})

    def _maps(self, image: Array, label: int | None, gradients: bool, off: Off) -> Maps:
        """The maps of an image: those of the last answer, if a click asks about it."""
        about = self.version, off, image.tobytes()
        if self._last is not None and self._last[0] == about:
            maps = self._last[1]
            if maps.label == label and (maps.gradients or not gradients):
                return maps
        maps = compute_maps(self._shown(off), to_float(image[None])[0], label, gradients)
        self._last = about, maps
        return maps

    def _shown(self, off: Off) -> Sequential:
        """The network, or a copy with these filters and units switched off. Raises ValueError for others."""
        if not off:
            return self._network
        if self._switched is None or self._switched[0] != (self.version, off):
            self._switched = (self.version, off), switched_off(self._network, off)
        return self._switched[1]

    # --- events ---

    def events(self, seen: int, timeout: float, client: str = "") -> tuple[int, list[dict[str, Any]]]:
        """What happened after event number `seen`, the latest of each kind; waits `timeout` seconds.

        What concerns one page only is told to that `client`.
        """
        with self._news:
            self._news.wait_for(lambda: self._number() > seen, timeout)
            events = [event for event in self._events if event.get("client", client) == client]
            return self._number(), [event for event in events if event.get("number", seen + 1) > seen]

    def _number(self) -> int:
        return max((event.get("number", 1 << 60) for event in self._events), default=0)

    def _publish(self, kind: str, client: str | None = None, **facts: Any) -> None:
        with self._news:
            event = {"kind": kind, "number": self._number() + 1, **facts}
            if client is not None:
                event["client"] = client
            others = [e for e in self._events if (e["kind"], e.get("client")) != (kind, client)]
            for_all = [e for e in others if "client" not in e]
            self._events = for_all + [e for e in others if "client" in e][-MOST_CLIENTS:] + [event]
            self._news.notify_all()

    # --- in the background, piece by piece ---

    def _train(self, run: Run) -> Iterator[None]:
        shown = 0.0
        try:
            while not run.finished:
                loss = run.train_one_batch()
                if time.monotonic() - shown > SHOW_EVERY or run.finished:
                    shown = time.monotonic()
                    self._show(run)
                    self._publish("training", step=run.step, loss=loss, version=self.version)
                yield
        except Diverged as error:
            self._publish("diverged", message=str(error))
            return
        run.release()
        yield from self._test()

    def _show(self, run: Run) -> None:
        self._network.load_values(run.network.arrays())
        self.version += 1

    def _test(self) -> Iterator[None]:
        test, pieces = self.data.test, []
        for start in range(0, len(test), TEST_PIECE):
            pieces.append(self._given.predict(test.images[start : start + TEST_PIECE]))
            yield
        self._tested = np.concatenate(pieces)
        correct = int((self._tested.argmax(axis=1) == test.labels).sum())
        self._publish("tested", correct=correct, total=len(test))
        favourites = Favourites(self._network)
        yield from favourites.look_at_all(test.images[:LIKED])
        self._favourites = favourites
        self._publish("favourites")

    def _look_at_training_images(self, features: Features) -> Iterator[None]:
        told = 0.0
        for _ in features.compute():
            if time.monotonic() - told > SHOW_EVERY or features.seen == len(self.data.train):
                told = time.monotonic()
                self._publish("nearest", seen=features.seen, total=len(self.data.train))
            yield


def expect_images(data: Dataset) -> None:
    """Raise ValueError for data that the page cannot show."""
    if data.test.images.shape[1:] != (SIDE, SIDE) or len(data.classes) > CLASSES:
        got = f"{list(data.test.images.shape[1:])} and {len(data.classes)}"
        raise ValueError(f"data: expected images [{SIDE}, {SIDE}] of up to {CLASSES} classes, got {got}")


def describe(network: Sequential, data: Dataset, name: str, run: Run | None = None) -> dict[str, Any]:
    """What the page needs to know once of an `unfused` network, which `run` trains."""
    stages = [
        {"name": stage.name, "kind": stage.kind, "shape": list(stage.shape)} | _geometry(stage.layer)
        for stage in stages_of(network)
    ]
    return {
        "minicnn": __version__,
        "name": name,
        "training": run is not None,
        "steps": run.settings.steps if run is not None else 0,
        "stages": stages,
        "parameters": {p.name: list(p.value.shape) for p in network.parameters()},
        "test_images": len(data.test),
        "training_images": len(data.train),
        "sources": source.all_sources(),
    }


def _geometry(layer: Any) -> dict[str, Any]:
    """What the page draws of a layer's window."""
    names = ("stride", "padding", "size")
    facts = {name: getattr(layer, name) for name in names if hasattr(layer, name)}
    if layer is not None and layer.parameters:
        facts |= {"weight": layer.weight.name, "bias": layer.bias.name}
    return facts


def as_answer(trace: Trace, facts: dict[str, Any]) -> Answer:
    """A trace with everything the page shows of it, the last line included."""
    arrays, sides = {}, {}
    for side, factor in (("left", trace.left), ("right", trace.right)):
        if factor is not None:
            arrays[side], arrays[f"{side}_places"] = factor.values, factor.places
            sides[side] = {"what": factor.what, "name": factor.name}
    by_hand = trace.by_hand()
    numbers = {"value": trace.value, "by_hand": by_hand, "difference": by_hand - trace.value}
    rest = {"rule": trace.rule, "code": trace.code, "constant": trace.constant, "facts": trace.facts}
    return Answer(arrays, facts | numbers | sides | rest)
