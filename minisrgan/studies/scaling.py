"""`minisrgan bench --ranks`: how long does a step take on N ranks? Measured here, and worked out in two ways.

    t(N) = max(1, N/cores)·c(B/N) + M·L + V·s

    c(b)   seconds of a step of b crops on one core, measured with one process; B crops are shared by the ranks
    M, L   messages in a step, and the seconds of a small one between N ranks
    V, s   bytes of the large messages (the gradients of G and of D), and the seconds of each byte, which is summed up
           on the way

The formula knows only means. A simulation, event by event, draws the times of the steps from those measured, and lets
all ranks wait at each message for the slowest, and ranks without a core of their own take turns. Both start from what
one process and single messages take, so the measured steps on N ranks check them.

Another program may slow the machine for a while. So all is measured in several rounds, and the quickest counts.
"""

import heapq
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..device import use_device
from ..errors import ConfigError, MinisrganError
from ..files import write_whole
from ..imaging.patches import PhotoSet
from ..ranks.communicator import Communicator
from ..ranks.launch import THREADS, place_of
from ..ranks.mpi import INSTALL, Mpi
from ..training.config import TrainConfig
from ..training.presets import PRESETS
from ..training.ranked import RankTrainer
from ..training.trainer import Trainer
from . import Say
from .machine import cpu_count, describe_machine

RANKS = (1, 2, 4)
CASES = [(1, 1), *((1, n) for n in RANKS[1:]), *((n, 1) for n in RANKS[1:])]  # (ranks, the batch is divided by)
STAGES = ("pretrain", "gan")
WARM_UP, ROUNDS = 3, 4  # steps that are not measured; of the measuring
SMALL_ONES, LARGE_ONES, LARGE = 200, 20, 1 << 22  # how many messages are timed; bytes of a large one


def scaling(device: str, out: str | None = None, quick: bool = False, say: Say = print) -> dict:
    """Measure the preset tiny on 1, 2 and 4 ranks of this machine, each with one thread; say a table, and return what
    it was made from. `out` names a JSON file for that. Raises ConfigError without MPI."""
    steps, preset, cores = (2 if quick else 30), "tiny", cpu_count()
    config = PRESETS[preset]
    rounds = [
        {(n, share): measured_on(n, device, preset, config.batch // share, steps) for n, share in CASES}
        for _ in range(1 if quick else ROUNDS)
    ]
    alone = {n: quickest(rounds, (1, n)) for n in RANKS}
    several = {n: quickest(rounds, (n, 1)) for n in RANKS}
    say(f"{preset}, {config.batch} crops a step, device {device}, {cores} cores, one thread a rank; milliseconds")
    say(f"{'stage':9}{'ranks':>6}{'formula':>9}{'simulated':>10}{'measured':>9}{'messages':>9}{'kB':>7}{'in them':>9}")
    rows = []
    for stage in STAGES:
        for n in RANKS:
            took: list[float] = alone[n]["steps"][stage]
            row: dict[str, Any] = {"stage": stage, "ranks": n}
            if n == 1:
                step = {"messages": 0, "bytes": 0, "inside": 0.0}
                latency, per_byte, measured = 0.0, 0.0, took
            else:
                here = several[n]
                step, measured = here["trace"][stage], here["steps"][stage]
                latency, per_byte = here["latency"], here["per_byte"]
            row |= {
                "formula": formula(n, cores, statistics.median(took), latency, per_byte, step),
                "simulated": simulated(n, cores, took, latency, per_byte, step),
                "measured": statistics.median(measured),
                "latency": latency,
                "seconds_per_byte": per_byte,
                **step,
            }
            rows.append(row)
            times = "".join(f"{1e3 * row[name]:{w}.1f}" for name, w in
                            {"formula": 9, "simulated": 10, "measured": 9}.items())  # fmt: skip
            say(f"{stage:9}{n:6}{times}{row['messages']:9}{row['bytes'] / 1e3:7.0f}{1e3 * row['inside']:9.2f}")
    say("in them: what a step waits in its messages, the waiting for the slowest rank included")
    for n in RANKS[1:]:
        micro, giga = 1e6 * several[n]["latency"], 1e-9 / several[n]["per_byte"]
        say(f"{n} ranks: a small message takes {micro:.0f} µs; large ones are summed up at {giga:.1f} GB/s")
    results = {"device": device, "preset": preset, "machine": describe_machine(device), "rows": rows}
    if out:
        write_whole(out, json.dumps(results, indent=1).encode())
    return results


def quickest(rounds: Sequence[dict], case: tuple[int, int]) -> dict[str, Any]:
    """What was measured in a case, each figure from its quickest round."""
    found = [each[case] for each in rounds]
    steps = {stage: min((each["steps"][stage] for each in found), key=statistics.median) for stage in STAGES}
    trace = {
        stage: min((each["trace"][stage] for each in found), key=lambda trace: trace["inside"])
        for stage in found[0]["trace"]
    }
    times = {name: min(each[name] for each in found) for name in ("latency", "per_byte") if name in found[0]}
    return {"steps": steps, "trace": trace, **times}


def formula(n: int, cores: int, compute: float, latency: float, per_byte: float, step: dict[str, Any]) -> float:
    """t(N) above; `compute` is c(B/N)."""
    return max(1, n / cores) * compute + step["messages"] * latency + step["bytes"] * per_byte


def simulated(
    n: int, cores: int, computes: Sequence[float], latency: float, per_byte: float, step: dict[str, Any],
    steps: int = 200, seed: int = 0,
) -> float:  # fmt: skip
    """The mean time of a step, event by event: a rank computes until a message, and there it waits for all the others.

    computes   c(B/N) as it was measured, step by step; each rank's step takes one of these at random
    """
    rng, pieces, now = np.random.default_rng(seed), step["messages"] + 1, 0.0
    for _ in range(steps):
        took = rng.choice(computes, n) / pieces
        for piece in range(pieces):
            free = [now] * min(cores, n)  # when each core is next free
            ends = []
            for each in took:
                end = heapq.heappop(free) + each
                heapq.heappush(free, end)
                ends.append(end)
            now = max(ends) + (latency + step["bytes"] / step["messages"] * per_byte if piece < pieces - 1 else 0.0)
    return now / steps


# ---- What is measured, in processes of their own ---------------------------------------------------------


def measured_on(ranks: int, device: str, preset: str, batch: int, steps: int) -> dict[str, Any]:
    """What `measure` finds on so many ranks."""
    words = [sys.executable, "-m", __name__, device, preset, str(batch), str(steps)]
    if ranks > 1:
        mpiexec = Path(sys.executable).with_name("mpiexec")
        if not mpiexec.exists():
            raise ConfigError(f"there is no mpiexec beside {sys.executable}: {INSTALL}")
        words = [str(mpiexec), "-n", str(ranks), *words]
    ran = subprocess.run(words, env=os.environ | dict.fromkeys(THREADS, "1"), capture_output=True, text=True)
    if ran.returncode:
        raise MinisrganError(f"{ranks} ranks: {(ran.stderr.strip() or 'failed').splitlines()[-1]}")
    return json.loads(ran.stdout.splitlines()[-1])


class Traced(Mpi):
    """Notes when a message was sent, how large it was and how long it took."""

    messages: list[tuple[int, float]] = []

    def noted(self, send: Callable, array: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        answer = send(array)
        self.messages.append((array.nbytes, time.perf_counter() - start))
        return answer

    def gather(self, array: np.ndarray) -> np.ndarray:
        return self.noted(super().gather, array)

    def exchange(self, array: np.ndarray) -> np.ndarray:
        return self.noted(super().exchange, array)


def measure(trainer: Trainer, steps: int) -> dict[str, Any]:
    """The seconds of each step of both stages; on several ranks, their messages too."""
    ranks, found, trace = getattr(trainer, "ranks", None), {}, {}
    for stage in STAGES:
        trainer.start_stage(stage)
        step = {"pretrain": trainer.pretrain_step, "gan": trainer.gan_step}[stage]
        times, inside = [], []
        for i in range(WARM_UP + steps):
            if ranks:
                ranks.gather(np.zeros(3))  # as training/leading.py does, and so all begin together
                ranks.messages = []
            start = time.perf_counter()
            step()
            if i >= WARM_UP:
                times.append(time.perf_counter() - start)
                inside.append(sum(took for _, took in ranks.messages) if ranks else 0.0)
        found[stage] = times
        if ranks:
            trace[stage] = {
                "messages": len(ranks.messages) + 1,  # the one between two steps
                "bytes": sum(bytes_of(trainer, stage)),
                "inside": statistics.median(inside),
            }
    return {"steps": found, "trace": trace}


def bytes_of(trainer: Trainer, stage: str) -> list[int]:
    """How large the gradients of G are, and in the GAN stage those of D."""
    models = [trainer.generator, trainer.discriminator][: 1 + (stage == "gan")]
    return [4 * model.parameter_count() for model in models]


def times_of_messages(ranks: Communicator) -> tuple[float, float]:
    """(The seconds of a small message, the seconds of each byte of a large sum.)"""

    def median(array, times):
        took = []
        for _ in range(times):
            ranks.gather(np.zeros(1))
            start = time.perf_counter()
            ranks.total(array)
            took.append(time.perf_counter() - start)
        return statistics.median(took)

    return median(np.zeros(1), SMALL_ONES), median(np.ones(LARGE // 4, np.float32), LARGE_ONES) / LARGE


def main() -> None:
    device, preset, batch, steps = sys.argv[1:]
    config: TrainConfig = PRESETS[preset]
    config = TrainConfig(**vars(config) | {"batch": int(batch), "copies": 0})
    side = 2 * config.discriminator.crop
    noise = np.random.default_rng(0).integers(256, size=(config.batch, side, side, 3), dtype=np.uint8)
    photos = PhotoSet([(str(i), each) for i, each in enumerate(noise)], config.generator.scale, side // 2)
    place = place_of()
    with use_device(device):
        if not place:
            print(json.dumps(measure(Trainer(config, photos, device), int(steps))))
            return
        ranks = Traced(place)
        found = measure(RankTrainer(config, photos, device, ranks), int(steps))
        latency, per_byte = times_of_messages(ranks)
        ranks.meet()
        if not ranks.rank:
            print(json.dumps(found | {"latency": latency, "per_byte": per_byte}))


if __name__ == "__main__":
    main()
