"""PyTorch's gradients of 93 operations: none is called wrong, and none that is spoilt is called right."""

import pytest

pytest.importorskip("torch")

import torch_fuzz

LIMIT = 0.003  # of all cases
SAMPLE = ["log1p", "median", "deviation", "linear, batch norm", "max pool, overlapping"]


def test_there_are_enough_operations():
    assert len(torch_fuzz.OPERATIONS) >= 63


@pytest.mark.parametrize("word", SAMPLE)
def test_a_sample_has_no_false_alarm_and_no_miss(word):
    tally = torch_fuzz.run(1, word, seed=1)
    assert tally.alarms == []
    assert tally.misses == []


def test_a_check_that_believes_everything_would_be_noticed(monkeypatch):
    monkeypatch.setattr(torch_fuzz, "reason", lambda report: "ok")
    assert torch_fuzz.run(1, "sinh").rates()[1] == 1


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_false_alarms_and_misses_are_rare():
    tally = torch_fuzz.run(10)
    print(tally)
    alarms, misses = tally.rates()
    assert alarms < LIMIT, "\n\n".join(tally.alarms)
    assert misses < LIMIT, "\n\n".join(tally.misses)
