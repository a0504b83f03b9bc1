"""The picture of the adversarial losses."""

import numpy as np
from PIL import Image

from minisrgan.cli.main import main
from minisrgan.losses import ADVERSARIAL
from minisrgan.studies.losses import LOGITS, along, draw_losses, sides


def test_the_picture_of_the_losses_shows_each_side_of_each_game(tmp_path):
    draw_losses(tmp_path / "losses.png")
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.size == (1600, 600)
    middle = len(LOGITS) // 2
    derivatives = {name: [along(loss)[1] for loss in sides(game).values()] for name, game in ADVERSARIAL.items()}
    for name, (d_real, d_fake, g_fake) in derivatives.items():
        assert d_real[middle] < 0 <= d_fake[middle] and g_fake[middle] < 0, name
    np.testing.assert_allclose(derivatives["minimax"][2], -1 / (1 + np.exp(-LOGITS)), rtol=1e-12)
    np.testing.assert_allclose(derivatives["non-saturating"][2], -1 / (1 + np.exp(LOGITS)), rtol=1e-12)


def test_the_command_that_draws_the_losses(tmp_path, capsys):
    assert main(["losses", "--out", str(tmp_path / "l.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'l.png'}\n" and (tmp_path / "l.png").stat().st_size > 10_000
