"""One rank leads, the others follow: what they are told, and what they take on."""

import signal

import numpy as np
import pytest
from ranks.threads import on_ranks

from minisrgan.errors import DivergedError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.training import leading
from minisrgan.training.leading import Follower, Leader
from minisrgan.training.run import state_of


@pytest.fixture
def photos(smooth_photo):
    return PhotoSet([(str(i), smooth_photo(36 + 4 * i, 40, seed=i)) for i in range(3)], 4, 16)


def trained(config, photos, size, steps, prepare=lambda leader: None):
    """The states of all ranks after the leader's `steps`, a function of the leader."""

    def work(ranks):
        if ranks.rank:
            follower = Follower(config, photos, "numpy", ranks)
            follower.crop_rng.random(ranks.rank)  # whatever it was before
            follower.follow()
            return state_of(follower)
        leader = Leader(config, photos, "numpy", ranks)
        prepare(leader)
        with leader.leading():
            steps(leader)
        return state_of(leader)

    return on_ranks(size, work)


def all_alike(states):
    (arrays, about), *others = states
    for theirs, also in others:
        assert also == about
        assert all(np.array_equal(theirs[name], array) for name, array in arrays.items())
    return about


@pytest.mark.parametrize("size", [2, 4])
def test_followers_take_on_the_leaders_state_and_its_steps(size, tiny_config, photos):
    config = tiny_config(batch=4, batch_norm=False, ema=0.9, adversarial_share=0.5).with_regulariser("r1")

    def prepare(leader):  # a state from elsewhere
        for array in leader.generator.arrays().values():
            array += 0.01
        leader.crop_rng.random(7)

    def steps(leader):
        leader.pretrain_step()
        leader.start_stage("gan")
        leader.gan_step()
        leader.gan_step()

    about = all_alike(trained(config, photos, size, steps, prepare))
    assert (about["stage"], about["step"], about["adam"]) == ("gan", 2, {"g": 2, "d": 2})


def test_going_back_takes_all_along(tiny_config, photos):
    def steps(leader):
        leader.pretrain_step()
        sample, leader.sample_hr = leader.sample_hr, lambda crops: leader.photos and sample_nan(sample(crops))
        with pytest.raises(DivergedError):
            leader.pretrain_step()
        leader.sample_hr = sample
        leader.start_stage("pretrain")
        leader.roll_back(1)
        leader.pretrain_step()

    about = all_alike(trained(tiny_config(batch=4, batch_norm=False), photos, 2, steps))
    assert (about["step"], about["rollbacks"]) == (1, 1)


def sample_nan(hr):
    return hr * float("nan")


def test_the_leaders_clock_counts(tiny_config, photos):
    config = tiny_config(batch=4, batch_norm=False, schedule="cosine").with_stages("minutes", pretrain=1.0)

    def steps(leader):
        for seconds in (0.0, 20.0, 40.0):
            leader.seconds = seconds
            leader.pretrain_step()

    assert all_alike(trained(config, photos, 2, steps))["seconds"] == 40


def test_the_state_is_handed_on_again_now_and_then(monkeypatch, tiny_config, photos):
    monkeypatch.setattr(leading, "ANEW", 3)
    handed = []
    hand_on = leading.hand_on
    monkeypatch.setattr(leading, "hand_on", lambda trainer: handed.append(trainer.step) or hand_on(trainer))

    def steps(leader):
        for _ in range(7):
            leader.pretrain_step()

    all_alike(trained(tiny_config(batch=4, batch_norm=False, steps=(9, 9)), photos, 2, steps))
    assert sorted(handed) == [0, 0, 3, 3, 6, 6]


def test_a_followers_signal_comes_to_the_leader_but_not_at_once(monkeypatch, tiny_config, photos):
    raised = []
    monkeypatch.setattr(leading.signal, "raise_signal", raised.append)
    monkeypatch.setattr(leading, "LATER", 0.0)

    class Asked(leading.StopRequest):
        def __init__(self, says):
            super().__init__(says)
            self.signal = signal.SIGTERM

    monkeypatch.setattr(leading, "StopRequest", Asked)

    def steps(leader):
        leader.pretrain_step()
        leader.pretrain_step()
        monkeypatch.setattr(leading, "LATER", 1000.0)

    trained(tiny_config(batch=4, batch_norm=False), photos, 2, steps)
    assert raised and {*raised} == {signal.SIGTERM}
