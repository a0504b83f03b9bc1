"""What TensorBoard is given: the log's numbers and the pictures, each once, however the run was stopped."""

from importlib.util import find_spec

import numpy as np
import pytest

from minisrgan.errors import ConfigError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.names import STAGES
from minisrgan.training import loop as training
from minisrgan.training import tensorboard
from minisrgan.training.run import Run
from minisrgan.training.trainer import Trainer

needs_package = pytest.mark.skipif(not find_spec("tensorboardX"), reason="tensorboardX is not installed")


@pytest.fixture
def start(tmp_path, smooth_photo, tiny_config, monkeypatch):
    """A function that starts a run for TensorBoard or resumes it; if `stop_at` is (stage, step), it fails there."""
    monkeypatch.setattr(training, "LOOKS", 2)
    monkeypatch.setattr(training, "draw_curves", lambda *args: None)

    def begin(resume=False, stop_at=None, kind=tensorboard.BoardRun):
        config = tiny_config(steps=(6, 6))
        run = kind(tmp_path / "run") if resume else kind.create(tmp_path / "run", config, stages=STAGES)
        photos = PhotoSet([(str(i), smooth_photo(36, 40, seed=i)) for i in range(2)], 4, 16)
        trainer = Trainer(config, photos, "numpy")
        if resume:
            run.restore(trainer)
        update = Trainer.update_generator

        def failing(self, *args):
            if (self.stage, self.step) == stop_at:
                raise RuntimeError("stopped")
            update(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "update_generator", failing)
            training.train(run, trainer, [smooth_photo(36, 40, seed=9)], STAGES, bar=False)
        return run

    return begin


def events(run):
    """[(tag, step, number or PNG)] of all events, as the protobuf that tensorboardX brings reads them."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted((run.folder / tensorboard.FOLDER).glob("*.tfevents.*")):
        for record, _ in tensorboard.records(path):
            event = Event.FromString(record[12:-4])
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                found.append((value.tag, event.step, getattr(value, kind)))
    return found


def expected(run):
    """{(tag, step): number} of the log."""
    skipped = ("stage", "step", "health", "seconds")
    return {
        (f"{row['stage']}/{name}", int(row["step"])): float(text)
        for row in run.rows()
        for name, text in row.items()
        if text and name not in skipped
    }


def is_the_log(run):
    found = events(run)
    places = [each[:2] for each in found]
    assert len(set(places)) == len(places)  # none twice
    numbers = {each[:2]: each[2] for each in found if not each[0].endswith("/sample")}
    log = expected(run)
    assert numbers.keys() == log.keys() and len(log) > 100
    assert all(np.isclose(numbers[each], log[each], rtol=1e-6) for each in log)
    pictures = {(tag.partition("/")[0], step): image for tag, step, image in found if tag.endswith("/sample")}
    assert {*pictures} == {(stage, step) for stage in STAGES for step in (3, 6)}
    for (stage, step), image in pictures.items():
        file = run.folder / "samples" / f"{stage}-{step:06d}.png"
        assert image.encoded_image_string == file.read_bytes() and image.width > image.height > 0


@needs_package
def test_it_has_the_log_and_the_pictures(start):
    is_the_log(start())


@needs_package
@pytest.mark.parametrize("stop", [("pretrain", 4), ("gan", 1), ("gan", 5)])
def test_a_resumed_run_has_each_event_once(start, stop):
    with pytest.raises(RuntimeError):
        start(stop_at=stop)
    run = start(resume=True)
    is_the_log(run)
    torn = sorted((run.folder / tensorboard.FOLDER).iterdir())[-1]
    torn.write_bytes(torn.read_bytes()[:-5])  # as a kill leaves it
    is_the_log(start(resume=True))


@needs_package
def test_a_run_that_was_begun_without_it_gets_all(start):
    with pytest.raises(RuntimeError):
        start(stop_at=("gan", 4), kind=Run)
    is_the_log(start(resume=True))


def test_without_the_package_one_line_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install 'tensorboardX"):
        tensorboard.run_with_board(tmp_path, asked_for=True)
    assert type(tensorboard.run_with_board(tmp_path, asked_for=False)) is Run  # a resumed run goes on
    assert "is not continued: " in capsys.readouterr().err
