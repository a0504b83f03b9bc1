"""Kills a training at random moments, resumes it in another process, and checks that nothing saved was lost.

    python tests/kills.py --kills 300

A test runs it with a few. After each kill every state on the disk must be whole, none older than before, with its rows
in the log. A run that got to its end in spite of it must be, bit for bit, the one that was never killed.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from minisrgan.imaging.patches import PhotoSet
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import GeneratorConfig
from minisrgan.names import STAGES
from minisrgan.training import loop as training
from minisrgan.training.config import Stage, TrainConfig
from minisrgan.training.run import Run, place, place_of
from minisrgan.training.trainer import Trainer
from minisrgan.weights.array_files import read_arrays

CONFIG = TrainConfig(
    generator=GeneratorConfig(channels=2, blocks=1, edge_kernel=3),
    discriminator=DiscriminatorConfig(channels=2, dense=2, crop=16),
    batch=1,
    pretrain=Stage(12, 1e-3),
    gan=Stage(12, 1e-3, ema=0.5),
)
training.LOOKS = 6  # every second step is saved
training.draw_comparison = training.draw_curves = lambda *args: None  # which take longer than the training


def live(folder):
    """Begin a run or resume it, and train to its end."""
    noise = np.random.default_rng(0).integers(256, size=(2, 20, 20, 3), dtype=np.uint8)
    trainer = Trainer(CONFIG, PhotoSet([("a", noise[0])], 4, 16), "numpy")
    run = Run(folder)
    if (folder / "config.json").exists():
        run.restore(trainer)
    else:
        run = Run.create(folder, CONFIG, trainer, data=None, stages=STAGES, photos=trainer.photos.hashes)
    training.train(run, trainer, [noise[1]], STAGES, bar=False)


def killed(folder, seconds):
    """Run `live` in a process, kill it after so many seconds, and return whether it was still running."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            live(folder)
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit("the run could not go on")
    return os.WIFSIGNALED(status)


def saved(folder):
    """The place of the state from which a run would be resumed, (-1, 0) before the first. Checks everything saved."""
    run, places = Run(folder), []
    for path in run.states():
        about = read_arrays(path)[1]
        places.append(place(about["stage"], about["step"]))
    if (folder / "config.json").exists():
        assert run.config()[0] == CONFIG and places, "a run without a state"
    if places:
        rows = [place_of(line) for line in run.log.read_bytes().splitlines(keepends=True)[1:]]
        due = [place(stage, step + 1) for stage in STAGES for step in range(getattr(CONFIG, stage).steps)]
        due = [each for each in due if each <= places[0]]
        assert rows[: len(due)] == due, f"the state of {places[0]} lacks rows: {rows}"
    return max(places, default=(-1, 0))


def outcome(folder):
    """Everything that must not depend on kills: the final files, and the log without its times."""
    run = Run(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".safetensors", ".part")}
    return files, [{name: text for name, text in row.items() if name != "seconds"} for row in run.rows()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, count, ends = random.Random(args.seed), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        whole, folder, before = Path(scratch) / "whole", Path(scratch) / "run", (-1, 0)
        started = time.perf_counter()
        live(whole)
        seconds = (time.perf_counter() - started) / 2
        while count < args.kills:
            if killed(folder, rng.uniform(0, seconds)):
                count += 1
                now = saved(folder) if folder.exists() else (-1, 0)
                assert now >= before, f"after kill {count} the run is at {now}, and was at {before}"
                before = now
            else:
                assert outcome(folder) == outcome(whole), "the run that was killed is another"
                shutil.rmtree(folder)
                ends, before = ends + 1, (-1, 0)
        live(folder)
        assert outcome(folder) == outcome(whole), "the run that was killed is another"
    print(f"{args.kills} kills, {ends + 1} runs brought to their end, each as if it had never been killed")


if __name__ == "__main__":
    main()
