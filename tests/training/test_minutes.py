"""Stages that go by the clock: when they end, how the rate falls, and that a resumed one has only the rest left."""

from types import SimpleNamespace

import numpy as np
import pytest

from minisrgan.errors import ConfigError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.training import cost, loop
from minisrgan.training.config import Stage
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer


@pytest.fixture
def clock(monkeypatch):
    """A clock on which a step takes 6 seconds, and nothing else takes any. Its `stop_at` is a second at which the
    training breaks."""
    now = SimpleNamespace(seconds=1000.0, stop_at=None)
    for module in (loop, cost):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now.seconds))

    def timed(method):
        def step(trainer):
            if now.seconds == now.stop_at:
                raise InterruptedError
            now.seconds += 6
            return method(trainer)

        return step

    for name in ("pretrain_step", "gan_step"):
        monkeypatch.setattr(Trainer, name, timed(getattr(Trainer, name)))
    return now


@pytest.fixture
def start(tmp_path, tiny_config, smooth_photo, no_pictures):
    """A function that starts a run or resumes it, and returns it. Its stage 1 has a minute, the other two steps."""
    photos = [(str(i), smooth_photo(36, 40, seed=i)) for i in range(2)]
    config = tiny_config(pretrain=Stage(0, 1e-3, "cosine", minutes=1), gan=Stage(2, 1e-3))

    def begin(resume=False):
        trainer = Trainer(config, PhotoSet(photos, 4, 16), "numpy")
        run = Run(tmp_path / "run") if resume else Run.create(tmp_path / "run", config, trainer)
        if resume:
            run.restore(trainer)
        loop.train(run, trainer, [photos[0][1]], ("pretrain", "gan"), bar=False)
        return run

    return begin


def rates_of(run):
    return [float(row["rate"]) for row in run.rows() if row["stage"] == "pretrain"]


COSINE = [1e-3 * (1 + np.cos(np.pi * step / 10)) / 2 for step in range(10)]


def test_a_minute_is_a_minute_and_the_rate_falls_with_it(clock, start):
    run = start()
    np.testing.assert_allclose(rates_of(run), COSINE)
    assert len(run.rows()) == 10 + 2


def test_looks_are_spread_over_the_time(clock, start, monkeypatch):
    monkeypatch.setattr(loop, "LOOKS", 4)
    looked = [row["step"] for row in start().rows() if row["psnr"]]
    assert looked == ["3", "5", "8", "10", "1", "2"]


def test_looks_that_take_long_are_fewer(clock, start, monkeypatch):
    """Each takes 1.5 s: one at 6 s, the next after 15 s, the next after 30 s; then there are two at most."""
    look = loop.look

    def slow(*arguments):
        clock.seconds += 1.5
        return look(*arguments)

    monkeypatch.setattr(loop, "look", slow)
    looked = [float(row["seconds"]) for row in start().rows() if row["psnr"] and row["stage"] == "pretrain"]
    assert looked[0] == 6 + 1.5 and looked[1] >= 15 and looked[2] >= 30 and len(looked) <= 5


def test_a_resumed_stage_has_the_rest_of_its_minutes(clock, start, monkeypatch):
    monkeypatch.setattr(loop, "LOOKS", 2)
    clock.stop_at = 1000 + 42
    with pytest.raises(InterruptedError):
        start()
    clock.seconds, clock.stop_at = 90_000.0, None
    run = start(resume=True)
    np.testing.assert_allclose(rates_of(run), COSINE)  # from step 5 on, where it was saved
    assert clock.seconds == 90_000 + 5 * 6 + 2 * 6


@pytest.mark.parametrize("minutes", [-1, float("inf"), float("nan")])
def test_minutes_that_no_stage_has_are_refused(minutes):
    with pytest.raises(ConfigError, match="more than 0 minutes"):
        Stage(1, 1e-3, minutes=minutes)


def test_steps_take_the_place_of_minutes(tiny_config):
    config = tiny_config(pretrain=Stage(0, 1e-3, minutes=1))
    assert config.with_stages("steps", pretrain=5).pretrain == Stage(5, 1e-3)
    assert config.with_stages("rate", pretrain=1e-2).pretrain == Stage(0, 1e-2, minutes=1)
