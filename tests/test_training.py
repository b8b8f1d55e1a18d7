"""The schedule against torch's, and the bar that counts."""

import pytest
import torch

from lib.training import progress, warmup_cosine


def test_without_a_warm_up_it_is_the_cosine_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for step in range(10):
        assert warmup_cosine(step, 10) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_the_warm_up_is_a_line_to_one():
    shares = [warmup_cosine(step, 100, warmup=4) for step in range(6)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[4] == 1.0 > shares[5]
    assert warmup_cosine(100, 100, warmup=4) == pytest.approx(0)
    assert warmup_cosine(0, 1, warmup=5) == 0.2


def test_progress_counts_on_standard_output_and_is_silent_without_words(capsys):
    assert list(progress(range(3), "")) == [0, 1, 2]
    assert capsys.readouterr().out == ""
    assert list(progress("ab", "x" * 50, start=4)) == ["a", "b"]
    out, err = capsys.readouterr()
    assert "6/6" in out and "x" * 33 in out and "x" * 34 not in out
    assert err == ""
