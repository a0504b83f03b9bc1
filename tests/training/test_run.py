"""The run's folder: what is in it, and that a run stopped anywhere can be resumed as if it had never stopped."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisrgan.errors import ConfigError, DivergedError, MinisrganError, WeightsError
from minisrgan.imaging.patches import PhotoSet
from minisrgan.names import STAGES
from minisrgan.training import loop as training
from minisrgan.training.config import TrainConfig
from minisrgan.training.presets import PRESETS
from minisrgan.training.run import COLUMNS, Run
from minisrgan.training.trainer import Trainer
from minisrgan.weights.generators import load_generator, read_arrays, write_arrays


class PowerCut(Exception):
    """The exception that stops a run in these tests."""


@pytest.fixture
def photos(smooth_photo):
    return [(str(i), smooth_photo(36, 40, seed=i)) for i in range(3)]


@pytest.fixture
def start(tmp_path, photos, tiny_config):
    """A function that starts a run or resumes it, and returns (run, trainer)."""

    def begin(name="run", resume=False, stages=STAGES, **changes):
        config = tiny_config(**changes)
        run = Run(tmp_path / name) if resume else Run.create(tmp_path / name, config, stages=stages)
        trainer = Trainer(config, PhotoSet(photos[:2], 4, 16), "numpy")
        if resume:
            run.restore(trainer)
        training.train(run, trainer, [photos[2][1]], stages, bar=False)
        return run, trainer

    return begin


def stop_at(monkeypatch, stage, step, error=PowerCut):
    """Make the training fail in the middle of the step that follows `step`."""
    update = Trainer.update_generator

    def failing(trainer, *args):
        if (trainer.stage, trainer.step) == (stage, step):
            raise error
        update(trainer, *args)

    monkeypatch.setattr(Trainer, "update_generator", failing)


def saved(run):
    arrays, about = read_arrays(run.checkpoint)
    return arrays, about


def same_state(run, other):
    (arrays, about), (others, about_other) = saved(run), saved(other)
    assert about == about_other
    assert arrays.keys() == others.keys()
    differing = [name for name in arrays if not np.array_equal(arrays[name], others[name])]
    assert not differing
    for name in ("checkpoint", "generator", "pretrained"):
        assert getattr(run, name).read_bytes() == getattr(other, name).read_bytes()


def measured(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.rows()]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "stage, step",
    [
        ("pretrain", 0),  # before anything was saved
        ("pretrain", 3),  # the last state is of step 2
        ("pretrain", 4),  # just after a state was saved
        ("gan", 0),  # the last state is of the end of stage 1
        ("gan", 1),
        ("gan", 5),
    ],
)
@pytest.mark.parametrize(
    "changes",
    [
        dict(batch_norm=True),
        dict(batch_norm=False, ema=0.5),
        dict(ema=0.5, regulariser="spectral-norm", adversarial="hinge"),
        dict(regulariser="instance-noise", adversarial="relativistic", content="l1"),
        dict(regulariser="gradient-penalty", adversarial="wasserstein", pixel_weight=0.5, tv_weight=0.1),
        dict(adversarial_share=0.5, grid_share=0.1, d_rate=2e-3, d_beta1=0.5, schedule="cosine"),
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_a_run_that_was_stopped_goes_on_as_if_it_never_had_been(monkeypatch, start, tiny_config, stage, step, changes):
    monkeypatch.setattr(training, "LOOKS", 3)  # of 6 steps: a state is saved at 2, 4 and 6
    fitting = tiny_config().with_regulariser(changes.get("regulariser", "none")).discriminator
    changes = dict(schedule="drop", discriminator=fitting) | changes
    whole, _ = start("whole", **changes)
    with monkeypatch.context() as patch:
        stop_at(patch, stage, step)
        with pytest.raises(PowerCut):
            start("stopped", **changes)
    stopped, _ = start("stopped", resume=True, **changes)
    same_state(whole, stopped)
    assert measured(whole) == measured(stopped)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_may_be_stopped_twice_and_its_last_row_torn(monkeypatch, start):
    whole, _ = start("whole")
    for resume, at in [(False, ("pretrain", 2)), (True, ("gan", 4))]:
        with monkeypatch.context() as patch:
            stop_at(patch, *at)
            with pytest.raises(PowerCut):
                start("stopped", resume=resume)
        with open(Run(whole.folder.with_name("stopped")).log, "a") as log:
            log.write("pretra")
    stopped, _ = start("stopped", resume=True)
    same_state(whole, stopped)
    assert measured(whole) == measured(stopped)


@pytest.mark.usefixtures("no_pictures")
def test_going_on_with_a_finished_run_changes_nothing(start):
    run, _ = start()
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    start(resume=True)
    assert before == {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}


@pytest.mark.usefixtures("no_pictures")
def test_the_gan_stage_alone_can_be_stopped_too(monkeypatch, start):
    whole, _ = start("whole", stages=("gan",))
    with monkeypatch.context() as patch:
        stop_at(patch, "gan", 3)
        with pytest.raises(PowerCut):
            start("stopped", stages=("gan",))
    stopped, _ = start("stopped", resume=True, stages=("gan",))
    same_state(whole, stopped)
    assert [row["stage"] for row in stopped.rows()] == ["gan"] * 6


@pytest.mark.usefixtures("no_pictures")
def test_the_generators_are_those_of_the_ends_of_the_stages(start):
    run, trainer = start()
    trained, read = trainer.generator.state(), load_generator(run.generator).state()
    assert all(np.array_equal(trained[name], array) for name, array in read.items())
    alone, _ = start("alone", stages=("pretrain",))
    assert run.pretrained.read_bytes() == alone.generator.read_bytes() == alone.pretrained.read_bytes()
    assert run.generator.read_bytes() != run.pretrained.read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_the_log_has_a_row_for_each_step(monkeypatch, start):
    monkeypatch.setattr(training, "LOOKS", 2)
    run, _ = start()
    with open(run.log, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == COLUMNS and all(len(row) == len(COLUMNS) for row in rows)
    assert [(row[0], row[1]) for row in rows] == [(stage, str(step)) for stage in STAGES for step in range(1, 7)]
    for row in run.rows():
        filled = {name for name in COLUMNS if row[name] != ""}
        of_both = "stage step rate loss_g loss_pixel grad_pixel grad_g rollbacks seconds".split()
        of_gan = (
            "stage step rate loss_g loss_content grad_content loss_adversarial grad_adversarial grad_g loss_d "
            "penalty grad_d d_real d_fake d_right d_doubt detail sameness drift rollbacks seconds"
        ).split()
        expected = set(of_both if row["stage"] == "pretrain" else of_gan)
        assert filled == expected | ({"psnr"} if int(row["step"]) % 3 == 0 else set())
        assert all(np.isfinite(float(row[name])) for name in filled - {"stage"})


@pytest.mark.usefixtures("no_pictures")
def test_the_last_step_of_a_stage_is_looked_at_and_saved(monkeypatch, start):
    monkeypatch.setattr(training, "LOOKS", 3)  # of 7 steps: every second, and the seventh
    run, trainer = start(steps=(7, 7))
    looked = [row["step"] for row in run.rows() if row["psnr"]]
    assert looked == ["2", "4", "6", "7"] * 2
    last = load_generator(run.generator).state()
    assert all(np.array_equal(last[name], array) for name, array in trainer.generator.state().items())


@pytest.mark.usefixtures("no_pictures")
def test_a_row_is_in_the_log_as_soon_as_its_step_ends(monkeypatch, start, tmp_path):
    monkeypatch.setattr(training, "LOOKS", 1)
    stop_at(monkeypatch, "pretrain", 4)
    with pytest.raises(PowerCut):
        start()
    assert [row["step"] for row in Run(tmp_path / "run").rows()] == ["1", "2", "3", "4"]


def test_looking_on_changes_nothing_in_the_training(monkeypatch, start, no_pictures):
    monkeypatch.setattr(training, "LOOKS", 1)
    seldom, _ = start("seldom")
    monkeypatch.setattr(training, "LOOKS", 6)
    often, _ = start("often")
    same_state(seldom, often)


def test_the_configuration_comes_back(tmp_path, tiny_config):
    for config in (tiny_config(schedule="cosine", seed=7), *PRESETS.values()):
        folder = Run.create(tmp_path / str(hash(config)), config, data="/photos", stages=("gan",), photos=[]).folder
        assert Run(folder).config() == (config, {"data": "/photos", "stages": ["gan"], "photos": []})


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"training": {}}', '{"training": 3}'])
def test_a_folder_without_a_configuration_is_no_run(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="is not the configuration of a run") as caught:
        Run(tmp_path).config()
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "setting, value",
    [
        ("batch", "eight"),
        ("batch", 2.5),
        ("seed", 0.5),
        ("batch", None),
        ("pretrain", [1, 2]),
        ("gan", None),
        ("content", 3),
        ("vgg", 3),
        ("ema", "much"),
        ("batch", True),
        ("tv_weight", None),
    ],
)
def test_a_configuration_of_odd_values_is_refused(tiny_config, setting, value):
    with pytest.raises(ConfigError):
        TrainConfig.from_dict(tiny_config().to_dict() | {setting: value})


def test_nothing_is_overwritten(tmp_path, tiny_config):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("run", "file"):
        with pytest.raises(ConfigError, match="there already"):
            Run.create(tmp_path / name, tiny_config())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", tiny_config()).rows() == []


def test_pictures_are_drawn_as_it_goes(monkeypatch, start):
    monkeypatch.setattr(training, "LOOKS", 1)
    run, _ = start(steps=(2, 2))
    pictures = [run.folder / "curves.png", *sorted((run.folder / "samples").iterdir())]
    assert [path.name for path in pictures] == ["curves.png", "gan-000002.png", "pretrain-000002.png"]
    for path in pictures:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 300 and pixels.std() > 5 and len(np.unique(pixels)) > 50


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("stage", STAGES)
def test_a_training_that_diverges_keeps_its_last_good_state(monkeypatch, start, tmp_path, stage):
    monkeypatch.setattr(training, "LOOKS", 3)
    generate = Trainer.generate

    def spoiled(trainer, lr):
        sr = generate(trainer, lr)
        return sr * float("nan") if (trainer.stage, trainer.step) == (stage, 3) else sr

    monkeypatch.setattr(Trainer, "generate", spoiled)
    with pytest.raises(DivergedError, match=f"step 4 of stage {stage}"):
        start()
    arrays, about = saved(Run(tmp_path / "run"))
    assert (about["stage"], about["step"]) == (stage, 2)
    assert all(np.isfinite(array).all() for array in arrays.values())
    load_generator(Run(tmp_path / "run").generator)  # which refuses NaN


def spoil(monkeypatch, where, times=99):
    """Make SR NaN at the given (stage, step), up to `times` times if the training gets there again."""
    generate, count = Trainer.generate, iter(range(times))

    def spoiled(trainer, lr):
        sr = generate(trainer, lr)
        return sr * float("nan") if (trainer.stage, trainer.step) == where and next(count, None) is not None else sr

    monkeypatch.setattr(Trainer, "generate", spoiled)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("stage, times, back", [("pretrain", 1, 4), ("gan", 1, 4), ("gan", 2, 2), ("gan", 3, 0)])
def test_a_training_that_rolls_back_goes_on_in_another_way(monkeypatch, start, capsys, stage, times, back):
    """It goes further back each time, because things may have gone wrong at the state that it went back to."""
    monkeypatch.setattr(training, "LOOKS", 3)  # a state is saved at 0, 2, 4 and 6
    whole, _ = start("whole")
    spoil(monkeypatch, (stage, 5), times=times)
    run, trainer = start(on_nan="rollback")
    said = capsys.readouterr().err
    assert said.count(f"step 6 of stage {stage}: loss_") == times
    for i in range(times):
        assert f"going back to step {4 - 2 * i} of stage {stage}" in said and f"({i + 1} of 3 times)" in said
    assert [(row["stage"], row["step"]) for row in run.rows()] == [(row["stage"], row["step"]) for row in whole.rows()]
    since = STAGES.index(stage) * 6 + back
    for i, (row, before) in enumerate(zip(run.rows(), whole.rows())):
        assert row["rollbacks"] == (str(times) if i >= since else "0")
        assert float(row["rate"]) == float(before["rate"]) / (2**times if i >= since else 1)
        assert (row["loss_g"] == before["loss_g"]) == (i < since)  # from there on the crops are others
    assert trainer.step == 6 and all(np.isfinite(array).all() for array in saved(run)[0].values())


@pytest.mark.usefixtures("no_pictures")
def test_a_rolled_back_run_can_be_stopped_too(monkeypatch, start):
    monkeypatch.setattr(training, "LOOKS", 3)
    runs = {}
    for name in ("whole", "stopped"):
        with monkeypatch.context() as patch:
            spoil(patch, ("gan", 3), times=1)
            if name == "stopped":
                stop_at(patch, "gan", 5)
                with pytest.raises(PowerCut):
                    start(name, on_nan="rollback")
            else:
                start(name, on_nan="rollback")
    runs = [start(name, resume=True, on_nan="rollback")[0] for name in ("whole", "stopped")]
    same_state(*runs)
    assert measured(runs[0]) == measured(runs[1])


@pytest.mark.usefixtures("no_pictures")
def test_a_training_does_not_roll_back_for_ever(monkeypatch, start, capsys):
    spoil(monkeypatch, ("gan", 3))
    with pytest.raises(DivergedError, match="step 4 of stage gan"):
        start(on_nan="rollback")
    assert capsys.readouterr().err.count("going back to") == training.ROLLBACKS


@pytest.mark.usefixtures("no_pictures")
def test_a_run_of_an_earlier_version_is_told_so(start):
    run, _ = start(steps=(1, 0))
    run.log.write_text(run.log.read_text().replace("loss_tv,", ""))
    with pytest.raises(WeightsError, match="an earlier version began the run.*--weights"):
        start(resume=True, steps=(1, 0))


@pytest.mark.usefixtures("no_pictures")
def test_a_log_with_the_columns_earlier_names_is_gone_on_with(start):
    run, _ = start(steps=(2, 0))
    now = run.log.read_text()
    run.log.write_text(now.replace("grad_content", "slope_content").replace("grad_grid", "slope_grid"))
    assert run.log.read_text() != now
    start(resume=True, steps=(2, 0))
    assert run.log.read_text() == now


def test_a_configuration_of_an_earlier_version_has_todays_defaults(tiny_config):
    config = tiny_config(adversarial_weight=0.5)
    old = {name: value for name, value in config.to_dict().items() if name in (
        "generator", "discriminator", "batch", "pretrain", "gan", "adversarial_weight", "seed")}  # fmt: skip
    assert TrainConfig.from_dict(old) == config


@pytest.mark.usefixtures("no_pictures")
def test_the_average_is_what_is_kept_of_a_stage(start):
    run, trainer = start(ema=0.5)
    kept = load_generator(run.generator).state()
    assert all(np.array_equal(kept[name], array) for name, array in trainer.averaged.state().items())
    assert not np.array_equal(kept["tail.weight"], trainer.generator.tail.weight.data)
    alone, trainer = start("alone", stages=("pretrain",), ema=0.5)
    assert alone.generator.read_bytes() == alone.pretrained.read_bytes() == run.pretrained.read_bytes()


@pytest.mark.usefixtures("no_pictures")
def test_a_state_that_cannot_be_written_leaves_the_one_before(monkeypatch, start, tmp_path):
    run, trainer = start(steps=(2, 0))
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    trainer.pretrain_step()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError):
        run.save(trainer)
    assert before == {path: path.read_bytes() for path in run.folder.iterdir()}  # and no temporary file


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("written", [1, 2])
def test_a_run_cut_off_between_two_files_goes_on_as_if_it_never_had_been(monkeypatch, start, written):
    """Of the files that make up a state, those in `written` are new and the others old."""
    monkeypatch.setattr(training, "LOOKS", 1)
    whole, _ = start("whole", steps=(4, 0))
    replace, count = os.replace, iter(range(99))

    def cut(source, target):
        if ".safetensors" in str(target) and trainer_is_at_the_end() and next(count) >= written:
            raise PowerCut
        replace(source, target)

    def trainer_is_at_the_end():
        return len(Run(whole.folder.with_name("stopped")).rows()) == 4

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(PowerCut):
            start("stopped", steps=(4, 0))
    stopped, _ = start("stopped", steps=(4, 0), resume=True)
    same_state(whole, stopped)
    assert measured(whole) == measured(stopped)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_cut_off_before_it_forgets_old_states_forgets_them_then(monkeypatch, start, tmp_path):
    whole, _ = start("whole")
    forget = Run._forget

    def cut(run, stage, step, most):
        if (stage, step) == ("gan", 6):
            raise PowerCut
        forget(run, stage, step, most)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_forget", cut)
        with pytest.raises(PowerCut):
            start("stopped")
    assert len(Run(tmp_path / "stopped").states()) == len(whole.states()) + 1
    stopped, _ = start("stopped", resume=True)
    assert [path.name for path in stopped.states()] == [path.name for path in whole.states()]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("damage", ["generator", "truncated", "other model", "no adam", "not finite", "missing"])
def test_a_checkpoint_that_does_not_fit_gets_one_line(start, damage):
    run, _ = start(steps=(1, 0))
    arrays, about = saved(run)
    if damage == "generator":
        run.checkpoint.write_bytes(run.generator.read_bytes())
    elif damage == "truncated":
        run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-9])
    elif damage == "other model":
        arrays["generator.tail.bias"] = np.zeros(4, np.float32)
        write_arrays(run.checkpoint, arrays, **about)
    elif damage == "no adam":
        kept = {name: array for name, array in arrays.items() if not name.startswith("adam_g.m.")}
        write_arrays(run.checkpoint, kept, **about)
    elif damage == "not finite":
        write_arrays(run.checkpoint, arrays | {"generator.tail.bias": np.full(3, np.nan, np.float32)}, **about)
    else:
        for path in run.states():
            path.unlink()
    with pytest.raises(WeightsError) as caught:
        start(resume=True, steps=(1, 0))
    assert str(run.checkpoint) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_pictures")
def test_the_seconds_go_on_over_stages_and_stops(monkeypatch, start):
    monkeypatch.setattr(training, "LOOKS", 3)
    with monkeypatch.context() as patch:
        stop_at(patch, "gan", 3)
        with pytest.raises(PowerCut):
            start("stopped")
    stopped = Run(start("whole")[0].folder.with_name("stopped"))
    shifted = stopped.log.read_text().splitlines()
    kept = shifted.index(next(line for line in shifted if line.startswith("gan,2,")))
    shifted[kept] = shifted[kept].rpartition(",")[0] + ",100.0"
    stopped.log.write_text("\n".join(shifted) + "\n")
    start("stopped", resume=True)
    seconds = [float(row["seconds"]) for row in stopped.rows()]
    assert seconds[:7] == sorted(seconds[:7]) and seconds[6] >= seconds[5] > 0
    assert 100 < seconds[8] < 160 and seconds[8:] == sorted(seconds[8:]) and stopped.seconds() == seconds[-1]


@pytest.mark.parametrize("most", [1, 7, 2000])
def test_a_long_log_is_thinned_evenly_and_keeps_its_psnr(tmp_path, tiny_config, most):
    run = Run.create(tmp_path / "run", tiny_config())
    assert run.rows(most) == [] and run.seconds() == 0
    run.append(
        [{"stage": "gan", "step": i, "seconds": i / 4} | ({"psnr": 20} if i == 50 else {}) for i in range(1, 101)]
    )
    rows = run.rows(most)
    assert [row for row in run.rows() if row in rows] == rows and len(rows) <= most + 1
    steps = [int(row["step"]) for row in rows]
    assert steps[-1] == 100 and 50 in steps and run.seconds() == 25
    if most == 7:
        assert steps == [10, 25, 40, 50, 55, 70, 85, 100]


def test_a_generators_file_says_how_it_was_trained(start, no_pictures):
    run, _ = start(seed=3, steps=(2, 1))
    for path, stage, step in [(run.pretrained, "pretrain", 2), (run.generator, "gan", 1)]:
        assert read_arrays(path)[1]["trained"] == {"seed": 3, "stage": stage, "step": step, "photos": 2}


def test_config_json_is_for_people_too(tmp_path, tiny_config):
    run = Run.create(tmp_path / "run", tiny_config(seed=3), data=None)
    text = (run.folder / "config.json").read_text()
    assert json.loads(text)["training"]["seed"] == 3 and text.count("\n") > 10


# The log


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("lost", [1, 4])
def test_rows_that_are_there_stay_though_the_last_are_lost(start, lost):
    """A power cut can lose the end of a log that was not yet written to the disk."""
    run, _ = start()
    lines = run.log.read_text().splitlines(keepends=True)
    run.log.write_text("".join(lines[:-lost]) + "gan,6,0.001,")
    start(resume=True)
    assert run.log.read_text() == "".join(lines[:-lost])


@pytest.mark.usefixtures("no_pictures")
def test_what_a_crash_leaves_in_the_log_is_no_row(monkeypatch, start):
    whole, _ = start("whole")
    with monkeypatch.context() as patch:
        stop_at(patch, "gan", 3)
        with pytest.raises(PowerCut):
            start("stopped")
    log = Run(whole.folder.with_name("stopped")).log
    log.write_bytes(log.read_bytes() + bytes(512) + b"\xff\xfe\n" + b"," * (len(COLUMNS) - 1) + b"\nthird,2" + b"," * 9)
    stopped, _ = start("stopped", resume=True)
    assert measured(whole) == measured(stopped)


@pytest.mark.usefixtures("no_pictures")
def test_the_log_is_on_the_disk_before_the_state_and_the_folder_after_it(monkeypatch, start, tmp_path):
    done, fsync, replace = [], os.fsync, os.replace
    names = {}

    def synced(file):
        fsync(file)
        done.append(("sync", os.fstat(file).st_ino))

    def replaced(source, target):
        replace(source, target)
        done.append(("name", Path(target).name))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    run, _ = start(steps=(2, 2))
    names = {"log": run.log.stat().st_ino, "folder": run.folder.stat().st_ino}
    last = max(i for i, what in enumerate(done) if what == ("name", run.checkpoint.name))
    before = max(i for i, what in enumerate(done[:last]) if what[0] == "name" and what[1] != run.generator.name)
    assert ("sync", names["log"]) in done[before:last] and ("sync", names["folder"]) in done[last:]
    assert ("sync", tmp_path.stat().st_ino) in done  # in which the run's folder is new


# One writer


@pytest.mark.usefixtures("no_pictures")
def test_one_process_writes_in_a_run(monkeypatch, start):
    run, _ = start(steps=(2, 0))
    run.lock()
    run.append([{"stage": "gan", "step": 1}])
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(ConfigError, match=f"another training writes here .process {os.getpid()} on ") as caught:
        start(resume=True, steps=(2, 0))
    assert "\n" not in str(caught.value)
    assert before == {path.name: path.read_bytes() for path in run.folder.iterdir()}
    run.unlock()
    start(resume=True, steps=(2, 0))


def test_of_new_runs_at_once_one_gets_the_folder(monkeypatch, tmp_path, tiny_config):
    together, outcomes, looked, check = threading.Barrier(4), [], threading.local(), Run.check_new

    def checked(run):
        check(run)
        if not hasattr(looked, "once"):  # each has seen that the folder is free before any takes it
            looked.once = together.wait()

    def begin():
        try:
            outcomes.append(Run.create(tmp_path / "run", tiny_config()))
        except MinisrganError as error:
            outcomes.append(str(error))

    monkeypatch.setattr(Run, "check_new", checked)
    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [each for each in outcomes if isinstance(each, str)]
    assert len(refused) == 3 and all("writes here" in each or "there already" in each for each in refused)


def test_what_is_killed_holds_no_lock(tmp_path, tiny_config):
    run = Run.create(tmp_path / "run", tiny_config())
    run.unlock()
    code = "import sys; from minisrgan.training.run import Run; run = Run(sys.argv[1]); run.lock(); input()"
    holder = subprocess.Popen([sys.executable, "-c", code, run.folder], stdin=subprocess.PIPE)
    while not run.lock_path.read_text() and holder.poll() is None:
        time.sleep(0.01)
    with pytest.raises(ConfigError, match=f"process {holder.pid} on"):
        run.lock()
    holder.kill()
    holder.communicate()
    run.lock()
    run.unlock()
    assert run.lock_path.read_text() == ""


# Going back


def explode(monkeypatch, where, factor=1e4):
    """Make SR many times too large from the given (stage, step) on: far too large, but finite."""
    generate = Trainer.generate

    def exploding(trainer, lr):
        sr = generate(trainer, lr)
        return sr * factor if trainer.stage == where[0] and trainer.step >= where[1] else sr

    monkeypatch.setattr(Trainer, "generate", exploding)


@pytest.fixture
def states_saved(monkeypatch):
    """The (stage, step) of each state, recorded as it is written."""
    saved, save = [], Run.save

    def watched(run, trainer, **how):
        saved.append((trainer.stage, trainer.step))
        save(run, trainer, **how)

    monkeypatch.setattr(Run, "save", watched)
    return saved


@pytest.mark.usefixtures("no_pictures")
def test_while_a_gradient_explodes_nothing_is_saved_before_the_end(monkeypatch, start, states_saved, capsys):
    monkeypatch.setattr(training, "LOOKS", 6)
    explode(monkeypatch, ("gan", 3))
    run, _ = start()
    assert states_saved[-5:] == [("gan", 0), ("gan", 1), ("gan", 2), ("gan", 3), ("gan", 6)]
    assert "step 4: not saved, while a gradient explodes" in capsys.readouterr().err
    earlier = [f"checkpoint-gan-00000{step}.safetensors" for step in (1, 2, 3)]
    assert [path.name for path in sorted(run.folder.glob("checkpoint-*"))] == earlier


@pytest.mark.usefixtures("no_pictures")
def test_a_training_does_not_end_exploded_but_finite_where_it_may_roll_back(monkeypatch, start, tmp_path, states_saved):
    monkeypatch.setattr(training, "LOOKS", 6)
    explode(monkeypatch, ("gan", 3))
    with pytest.raises(DivergedError, match="step 6 of stage gan: the stage ends while a gradient explodes"):
        start(on_nan="rollback")
    begun = states_saved.index(("gan", 0))  # it went back to 3, 2 and 1
    assert [step for _, step in states_saved[begun:]] == [0, 1, 2, 3, *[3], *[2, 3], *[1, 2, 3]]
    arrays, about = saved(Run(tmp_path / "run"))
    assert about["step"] == 3 and max(abs(array).max() for array in arrays.values()) < 100


@pytest.mark.usefixtures("no_pictures")
def test_further_back_may_be_the_stage_before(monkeypatch, start, capsys):
    monkeypatch.setattr(training, "LOOKS", 1)
    spoil(monkeypatch, ("gan", 1), times=3)
    run, trainer = start(on_nan="rollback")
    said = capsys.readouterr().err
    back = ["step 0 of stage gan", "step 6 of stage pretrain", "step 0 of stage pretrain"]
    assert re.findall("going back to (.*),", said) == back
    assert (trainer.stage, trainer.step) == ("gan", 6)
    assert [row["step"] for row in run.rows()] == [*"123456"] * 2


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("links", [True, False])
def test_some_good_states_are_kept_and_no_more(monkeypatch, start, links):
    monkeypatch.setattr(training, "LOOKS", 6)
    if not links:  # as on a memory card
        monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(PermissionError("no links here")))
    run, _ = start()
    names = ["checkpoint.safetensors", "checkpoint-gan-000005.safetensors", "checkpoint-gan-000004.safetensors"]
    assert [path.name for path in run.states()] == names
    assert [read_arrays(path)[1]["step"] for path in run.states()] == [6, 5, 4]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("on_nan", ["stop", "rollback"])
def test_a_state_that_is_not_finite_is_not_saved(monkeypatch, start, tmp_path, on_nan):
    """A step can spoil the weights, and no loss shows it before the next step."""
    monkeypatch.setattr(training, "LOOKS", 3)
    update, spoils = Trainer.update_generator, iter([True])

    def spoiling(trainer, *args):
        update(trainer, *args)
        if (trainer.stage, trainer.step) == ("gan", 3) and next(spoils, False):
            trainer.generator.tail.bias.data[0] = np.inf

    monkeypatch.setattr(Trainer, "update_generator", spoiling)
    monkeypatch.setattr(training, "look", lambda *args: [20.0, 20.0])
    if on_nan == "stop":
        with pytest.raises(DivergedError, match="step 4 of stage gan: generator.tail.bias is no longer finite"):
            start()
        assert Run(tmp_path / "run").position() == ("gan", 2)
    else:
        run, trainer = start(on_nan="rollback")
        assert run.position() == ("gan", 6) and trainer.rollbacks == 1


@pytest.mark.usefixtures("no_pictures")
def test_where_the_last_state_is_damaged_the_one_before_is_named_and_will_do(monkeypatch, start):
    monkeypatch.setattr(training, "LOOKS", 3)
    whole, _ = start("whole")
    run, _ = start()
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-9])
    with pytest.raises(WeightsError, match="remove it, and .* the state before, checkpoint-gan-000004.safetensors"):
        start(resume=True)
    run.checkpoint.unlink()
    start(resume=True)
    same_state(whole, run)
    assert measured(whole) == measured(run)


@pytest.mark.usefixtures("no_pictures")
def test_a_rolled_back_run_that_is_stopped_between_goes_back_as_far(monkeypatch, start):
    """The run does not go back to a state that Ctrl-C saved: a run that was not stopped has no such state."""
    monkeypatch.setattr(training, "LOOKS", 2)  # of 6 steps: 0, 3, 6
    runs = {}
    for name in ("whole", "stopped"):
        with monkeypatch.context() as patch:
            spoil(patch, ("gan", 5), times=2)
            if name == "stopped":
                signal_at(patch, "gan", 3, signal.SIGINT)
                with pytest.raises(KeyboardInterrupt):
                    start(name, on_nan="rollback")
                patch.undo()
                spoil(patch, ("gan", 5), times=2)
            runs[name], trainer = start(name, resume=name == "stopped", on_nan="rollback")
            assert trainer.rollbacks == 2
    same_state(*runs.values())
    assert measured(runs["whole"]) == measured(runs["stopped"])


# The beginning, and the end


@pytest.mark.usefixtures("no_pictures")
def test_a_run_killed_at_its_beginning_can_be_gone_on_with_or_begun_again(
    monkeypatch, start, tmp_path, tiny_config, photos
):
    whole, _ = start("whole", steps=(1, 1))
    for after in range(99):
        left, replace = iter(range(after)), os.replace

        def cut(source, target, left=left, replace=replace):
            if next(left, None) is None:
                with open(source, "rb") as half, open(Path(source).with_name(".minisrgan-1.part"), "wb") as leftover:
                    leftover.write(half.read(9))
                raise PowerCut
            replace(source, target)

        folder = f"run-{after}"
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            try:
                config = tiny_config(steps=(1, 1))
                trainer = Trainer(config, PhotoSet(photos[:2], 4, 16), "numpy")
                Run.create(tmp_path / folder, config, trainer, stages=STAGES)
            except PowerCut:
                pass
        begun_already = (tmp_path / folder / "config.json").exists()
        run, _ = start(folder, resume=begun_already, steps=(1, 1))
        same_state(whole, run)
        assert not [*run.folder.glob(".*")]
        if begun_already:
            break
    assert after >= 4  # the log, two generators and the state come before


def test_what_somebody_keeps_in_a_folder_is_no_beginning(tmp_path, tiny_config):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "generator.safetensors").write_text("all that was kept of a run")
    with pytest.raises(ConfigError, match="there already"):
        Run.create(tmp_path / "run", tiny_config())


@pytest.fixture(autouse=True)
def not_in_the_background():
    """A job in a shell's background ignores Ctrl-C, under nohup also a closed terminal. The trainings here must not."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def signal_at(monkeypatch, stage, step, number):
    """Send this process a signal in the middle of the step that follows `step`."""
    update = Trainer.update_generator

    def signalled(trainer, *args):
        if (trainer.stage, trainer.step) == (stage, step):
            os.kill(os.getpid(), number)
        update(trainer, *args)

    monkeypatch.setattr(Trainer, "update_generator", signalled)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_before_it_stops(monkeypatch, start, tmp_path, number):
    whole, _ = start("whole")
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with monkeypatch.context() as patch:
        signal_at(patch, "gan", 3, number)
        with pytest.raises(KeyboardInterrupt) as stopped:
            start("stopped")
    assert stopped.value.args == (number,)
    about = saved(Run(tmp_path / "stopped"))[1]
    assert (about["stage"], about["step"]) == ("gan", 4) and Run(tmp_path / "stopped").rows()[-1]["step"] == "4"
    assert handlers == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    stopped, _ = start("stopped", resume=True)
    same_state(whole, stopped)
    assert measured(whole) == measured(stopped)


@pytest.mark.usefixtures("no_pictures")
def test_a_signal_that_is_to_be_ignored_is(monkeypatch, start):
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)  # as nohup has it
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_at(monkeypatch, "gan", 3, signal.SIGHUP)
        assert start()[1].step == 6
    finally:
        signal.signal(signal.SIGHUP, before)


def test_kills_at_random_moments_lose_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "kills.py", "--kills", "15"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("15 kills, "), done.stdout + done.stderr
