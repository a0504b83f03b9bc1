"""The ring of Gaussians: what counts as found, that games repeat themselves, and what the command writes."""

import csv
from multiprocessing import active_children

import numpy as np
import pytest
from PIL import Image

from minisrgan.cli.main import main
from minisrgan.losses import ADVERSARIAL
from minisrgan.regularisers import REGULARISERS
from minisrgan.studies.modes import CENTRES, PAIRS, SAMPLES, STD, judge, play, play_all, ring


@pytest.mark.parametrize(
    "points, expected",
    [
        (CENTRES, (8, 1.0)),
        (CENTRES[[3, 3, 3, 5]], (2, 1.0)),
        (CENTRES[:4] + [[2.9 * STD, 0]], (4, 1.0)),
        (CENTRES[:4] + [[3.1 * STD, 0]], (0, 0.0)),
        (np.concatenate([CENTRES[:2], 0 * CENTRES[:6]]), (2, 0.25)),  # the others are in the middle of the ring
        (np.concatenate([CENTRES[:1]] * 79 + [CENTRES[1:2]]), (2, 1.0)),  # just a tenth of a mode's share
        (np.concatenate([CENTRES[:1]] * 80 + [CENTRES[1:2]]), (1, 1.0)),  # just less
        (np.full((5, 2), np.nan), (0, 0.0)),
    ],
)
def test_what_counts_as_found_and_as_good(points, expected):
    assert judge(points) == expected


def test_the_ring_itself_has_all_modes_and_a_normal_share_within_three_deviations():
    found, quality = judge(ring(np.random.default_rng(0), 20_000))
    assert found == 8
    np.testing.assert_allclose(quality, 1 - np.exp(-4.5), atol=0.003)


def test_every_loss_and_every_regulariser_plays_and_only_those_that_go_together():
    assert {loss for loss, _ in PAIRS} == set(ADVERSARIAL) and {name for _, name in PAIRS} == set(REGULARISERS)
    assert len(set(PAIRS)) == len(PAIRS)
    for loss, name in PAIRS:
        REGULARISERS[name].check(loss)


@pytest.mark.parametrize("pair", [("relativistic", "instance-noise"), ("wasserstein", "gradient-penalty")])
def test_a_game_repeats_itself_and_another_seed_is_another_game(pair):
    first, again, other = (play(*pair, seed, 3).points for seed in (0, 0, 1))
    assert first.shape == (SAMPLES, 2)
    assert first.tobytes() == again.tobytes() and (first != other).any()


def test_pairs_begin_at_the_same_weights_and_go_different_ways():
    points = [[play(*pair, 0, steps).points.tobytes() for pair in PAIRS] for steps in (0, 2)]
    assert len(set(points[0])) == 1 and len(set(points[1])) == len(PAIRS)


def test_with_spectral_norm_g_finds_modes_that_it_did_not_begin_at():
    (before, _), (after, quality) = (play("hinge", "spectral-norm", 0, steps)[3:5] for steps in (0, 800))
    assert before <= 2 and after >= 5 and quality > 0.12


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_played(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minisrgan.studies.modes.play_all", None)
    (tmp_path / "folder.png").mkdir()
    assert main(["modes", "--out", str(tmp_path / "folder.png")]) == 2
    assert "this is a folder" in capsys.readouterr().err


def test_ctrl_c_ends_the_games_that_run(monkeypatch):
    def interrupted(*games, **bar):
        raise KeyboardInterrupt

    monkeypatch.setattr("minisrgan.studies.modes.progress_bar", interrupted)
    with pytest.raises(KeyboardInterrupt):
        play_all(10**9)
    assert not active_children()


def test_the_command_says_the_table_and_writes_every_game_and_a_picture(tmp_path, capsys):
    assert main(["modes", "--steps", "2", "--out", str(tmp_path / "ring.png")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [tuple(line.split()[:2]) for line in said[1:-1]] == PAIRS and said[-1] == str(tmp_path / "ring.png")
    with open(tmp_path / "ring.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["adversarial"], row["regulariser"], int(row["seed"])) for row in rows] == [
        (*pair, seed) for pair in PAIRS for seed in range(3)
    ]
    for row in rows[::5]:  # games in processes of their own are the games that are played here
        here = play(row["adversarial"], row["regulariser"], int(row["seed"]), 2)
        assert (int(row["modes"]), float(row["quality"])) == (here.modes, round(here.quality, 4))
    assert any(float(row["quality"]) > 0 for row in rows)
    with Image.open(tmp_path / "ring.png") as picture:
        assert picture.width == 1500
