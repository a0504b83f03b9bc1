"""The pictures of a training: the comparison and the curves."""

import warnings

import numpy as np
import pytest

from minisrgan.imaging.metrics import score
from minisrgan.imaging.resize import downsample, upsample
from minisrgan.training import report
from minisrgan.training.run import COLUMNS


def test_the_comparison_shows_what_it_was_given(shades, tmp_path, smooth_photo):
    hr = smooth_photo(80, 120)
    lr = downsample(hr, 4)
    red = np.zeros_like(hr)
    red[..., 0] = 255
    report.draw_comparison(tmp_path / "a.png", lr, hr, {"red": (red, score(red, hr, 4))})
    bicubic = upsample(lr, 4)
    report.draw_comparison(tmp_path / "b.png", lr, hr, {"bicubic": (bicubic, score(bicubic, hr, 4))})
    a, b = shades(tmp_path / "a.png"), shades(tmp_path / "b.png")

    def reds(picture):
        return (picture == [255, 0, 0]).all(axis=2).mean()

    assert reds(a) > 0.1 and reds(b) < 0.01


@pytest.mark.parametrize("size", [(20, 20), (20, 300), (64, 64), (500, 24)])
def test_the_comparison_takes_photos_of_any_shape(shades, tmp_path, smooth_photo, size):
    hr = smooth_photo(*size)
    lr = downsample(hr, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bicubic = upsample(lr, 4)
        report.draw_comparison(tmp_path / "p.png", lr, hr, {"bicubic": (bicubic, score(bicubic, hr, 4))})
    assert shades(tmp_path / "p.png").std() > 20


def test_the_detail_is_where_the_picture_is_liveliest():
    image = np.full((96, 128, 3), 90, np.uint8)
    image[40:60:2, 70:90] = 250
    top, left = report.place_of_most_contrast(image, 32)
    assert top <= 40 and top + 32 >= 60 and left <= 70 and left + 32 >= 90


def log_row(stage, step, **measured):
    return dict.fromkeys(COLUMNS, "") | {"stage": stage, "step": str(step)} | measured


def test_the_curves_are_those_of_the_log(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        report,
        "save_figure",
        lambda figure, path: drawn.update(
            {line.get_label(): line.get_xydata().tolist() for axes in figure.axes for line in axes.lines}
        ),
    )
    report.draw_curves(
        tmp_path / "c.png",
        [
            log_row("pretrain", 1, loss_content="0.5", grad_g="3"),
            log_row("pretrain", 2, loss_content="0.25", grad_g="2", psnr="21.5"),
            log_row("gan", 1, loss_content="0.3", grad_g="1", d_real="0.6", d_fake="0.4", loss_d="1.2"),
        ],
        bicubic=20.5,
    )
    assert [y for _, y in drawn["bicubic"]] == [20.5, 20.5]
    assert drawn["loss_content"] == [[1, 0.5], [2, 0.25], [3, 0.3]]
    assert drawn["psnr"] == [[2, 21.5]] and drawn["d_fake"] == [[3, 0.4]]
    assert "loss_adversarial" not in drawn


def test_the_curves_of_a_thinned_log_stand_at_their_steps(tmp_path, monkeypatch):
    axes = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: axes.extend(figure.axes))
    rows = [log_row("pretrain", n, loss_content="1", psnr=p) for n, p in [(300, ""), (1000, "20")]]
    report.draw_curves(tmp_path / "c.png", [*rows, log_row("gan", 200, loss_content="2")])
    (line,) = [line for line in axes[0].lines if line.get_label() == "loss_content"]
    assert line.get_xdata().tolist() == [300, 1000, 1200]
    assert len({each.get_xlim() for each in axes}) == 1 and all(t == int(t) for t in axes[3].get_xticks())


def test_the_curves_show_when_something_was_wrong(tmp_path, monkeypatch):
    axes = []
    monkeypatch.setattr(report, "save_figure", lambda figure, path: axes.extend(figure.axes))
    rows = [
        log_row("gan", i, health=text) for i, text in enumerate(["", "ok", "d-winning", "d-winning+oscillation"], 1)
    ]
    report.draw_curves(tmp_path / "c.png", rows)
    drawn = {line.get_label(): line.get_xdata().tolist() for line in axes[-1].lines}
    assert drawn == {"d-winning": [3, 4], "oscillation": [4]}
    assert [text.get_text() for text in axes[-1].get_yticklabels()] == ["d-winning", "oscillation"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [log_row("pretrain", 1, loss_content="0.0", grad_g="0.0", psnr="inf")],  # a photo of one colour
        [log_row("gan", 1, loss_content="0.1", d_real="0.5", d_fake="0.5", psnr="20")],
    ],
)
def test_curves_of_odd_logs_are_drawn_without_a_warning(shades, tmp_path, rows):
    report.draw_curves(tmp_path / "c.png", rows)
    assert shades(tmp_path / "c.png").std() > 5
