"""`minisrgan bench --ranks`: how long does a step take on N ranks? Measured here, and worked out in two ways.

    t(N) = max(1, N/cores)·c(B/N) + M·L + V·s

    c(b)   seconds of a step of b crops on one core, measured with one process; B crops are shared by the ranks
    M, L   messages in a step, and the seconds of a small one between N ranks
    V, s   bytes of the gradients of G and of D, and the seconds of each byte, which is summed up on the way

The formula knows only means. A simulation, event by event, draws the times of the steps from those measured, and lets
all ranks wait at each message for the slowest, and ranks without a core of their own take turns. Both start from what
one process and single messages take, so the measured steps on N ranks check them.

For other networks, L and s follow from what they are rated at: L grows with log₂ N, and s is 2(N - 1)/N bytes sent
over the bandwidth.

Another program may slow the machine for a while. So all is measured in several rounds, and the quickest counts.
"""

import heapq
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..device import use_device
from ..errors import ConfigError, MinisrganError
from ..files import write_whole
from ..imaging.patches import PhotoSet
from ..models.architectures import build
from ..models.discriminator import Discriminator
from ..progress import progress_bar
from ..ranks.communicator import Communicator
from ..ranks.launch import THREADS, place_of
from ..ranks.mpi import INSTALL, Mpi
from ..training.config import TrainConfig
from ..training.presets import PRESETS
from ..training.ranked import RankTrainer
from ..training.trainer import Trainer
from . import Say
from .machine import cpu_count, describe_machine

Case = tuple[str, int, int]  # preset, ranks, what its batch is divided by
HERE, BEYOND = (2, 4), (2, 4, 8)  # ranks that are measured on this machine; that are worked out
PRESETS_BEYOND = ("tiny", "small")
STAGES = ("pretrain", "gan")
WARM_UP, ROUNDS = 3, 2  # steps that are not measured; of the measuring
STEPS = {"tiny": 30, "small": 5}
SMALL_ONES, LARGE_ONES, LARGE = 200, 20, 1 << 22  # how many messages are timed; bytes of a large one
NETWORKS = {"1 Gbit/s": (50e-6, 0.125e9), "10 Gbit/s": (20e-6, 1.25e9), "100 Gbit/s": (5e-6, 12.5e9)}
# (seconds of a message between two, bytes a second): round figures, not measured


class Way(NamedTuple):
    """What messages take between some ranks: seconds for a small one, and for each byte that is summed up."""

    latency: float
    per_byte: float


def scaling(device: str, out: str | None = None, quick: bool = False, say: Say = print) -> dict:
    """Measure steps of the preset tiny on ranks of this machine, each with one thread, beside what is worked out for
    them, and work out larger presets and other networks. Says tables, and returns what is in them; `out` names a JSON
    file for it. Raises ConfigError without MPI."""
    cases = [(preset, 1, share) for preset in PRESETS_BEYOND[: 1 if quick else 2] for share in (1, *BEYOND)]
    cases += [("tiny", n, 1) for n in HERE]
    rounds = measure_all(device, cases, 1 if quick else ROUNDS, quick)
    found = {case: quickest([each[case] for each in rounds]) for case in rounds[0]}
    results = {"device": device, "machine": describe_machine(device), "quick": quick}
    results |= {"here": here(found, cpu_count(), say), "beyond": beyond(found, say)}
    if out:
        write_whole(out, json.dumps(results, indent=1).encode())
    return results


def measure_all(device: str, cases: Sequence[Case], rounds: int, quick: bool) -> list[dict[Case, dict[str, Any]]]:
    """What is measured of each case, round by round. A bar names the case, since the larger ones take minutes."""
    found: list[dict[Case, dict[str, Any]]] = [{} for _ in range(rounds)]
    with progress_bar(total=rounds * len(cases), unit="case") as progress:
        for each in found:
            for case in cases:
                preset, ranks, share = case
                progress.set_description(
                    f"{preset}, {ranks} rank{'s' * (ranks > 1)}, batch {PRESETS[preset].batch // share}"
                )
                each[case] = measured_on(device, *case, 1 if quick else STEPS[preset])
                progress.update()
    return found


def here(found: dict, cores: int, say: Say) -> list[dict]:
    """The table of the ranks of this machine: worked out, simulated and measured."""
    say(f"tiny, {PRESETS['tiny'].batch} crops a step, {cores} cores, one thread a rank; milliseconds")
    say(f"{'stage':9}{'ranks':>6}{'formula':>9}{'simulated':>10}{'measured':>9}{'messages':>9}{'kB':>7}{'in them':>9}")
    rows = []
    for stage in STAGES:
        alone = statistics.median(found["tiny", 1, 1]["steps"][stage])
        say(f"{stage:9}{1:6}{'':19}{1e3 * alone:9.1f}")
        for n in HERE:
            several, computes = found["tiny", n, 1], found["tiny", 1, n]["steps"][stage]
            way, trace = Way(several["latency"], several["per_byte"]), several["trace"][stage]
            row: dict[str, Any] = {"stage": stage, "ranks": n, "alone": alone, **way._asdict(), **trace}
            row["formula"] = formula(n, cores, statistics.median(computes), way, trace)
            row["simulated"] = simulated(n, cores, computes, way, trace)
            row["measured"] = statistics.median(several["steps"][stage])
            rows.append(row)
            say(
                f"{stage:9}{n:6}{1e3 * row['formula']:9.1f}{1e3 * row['simulated']:10.1f}{1e3 * row['measured']:9.1f}"
                f"{row['messages']:9}{row['bytes'] / 1e3:7.0f}{1e3 * row['inside']:9.2f}"
            )
    say("in them: what a rank spends in a step's messages, the waiting for the slowest included")
    for n in HERE:
        micro, giga = 1e6 * found["tiny", n, 1]["latency"], 1e-9 / found["tiny", n, 1]["per_byte"]
        say(f"{n} ranks: a small message takes {micro:.0f} µs; large ones are summed up at {giga:.2f} GB/s")
    return rows


def beyond(found: dict, say: Say) -> list[dict]:
    """The table of other networks, where each rank has a core, and a network card, of its own: how many times as fast
    as one rank it is, by the formula and by the simulation."""
    say("\nworked out, not measured: times as fast as one rank, by the formula and (simulated)")
    say(f"{'preset':8}{'stage':9}{'ranks':>6}" + "".join(f"{name:>15}" for name in NETWORKS))
    rows = []
    for preset in PRESETS_BEYOND:
        for stage in STAGES if (preset, 1, 1) in found else ():
            trace = found["tiny", HERE[0], 1]["trace"][stage] | {"bytes": gradient_bytes(preset, stage)}
            alone = statistics.median(found[preset, 1, 1]["steps"][stage])
            for n in BEYOND:
                computes, line = found[preset, 1, n]["steps"][stage], ""
                for network, (latency, bandwidth) in NETWORKS.items():
                    way = Way(latency * math.ceil(math.log2(n)), 2 * (n - 1) / n / bandwidth)
                    times = (
                        formula(n, n, statistics.median(computes), way, trace),
                        simulated(n, n, computes, way, trace),
                    )
                    gains = [alone / each for each in times]
                    rows.append({"preset": preset, "stage": stage, "ranks": n, "network": network, "gains": gains})
                    line += f"{gains[0]:8.1f} ({gains[1]:.1f})"
                say(f"{preset:8}{stage:9}{n:6}{line}")
    return rows


def gradient_bytes(preset: str, stage: str) -> int:
    """How large the gradient of G is, and in the GAN stage that of D with it."""
    config, rng = PRESETS[preset], np.random.default_rng(0)
    models = [build(config.generator, rng), *([Discriminator(config.discriminator, rng)] if stage == "gan" else [])]
    return 4 * sum(model.parameter_count() for model in models)


def quickest(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each figure from the round in which it was the least."""

    def inside(trace: Any) -> float:
        return trace["inside"]

    best = {"steps": {stage: min((each["steps"][stage] for each in found), key=statistics.median) for stage in STAGES}}
    if "trace" in found[0]:
        traces = [each["trace"] for each in found]
        best["trace"] = {stage: min((each[stage] for each in traces), key=inside) for stage in STAGES}
        best |= {name: min(each[name] for each in found) for name in Way._fields}
    return best


def formula(n: int, cores: int, compute: float, way: Way, step: dict[str, Any]) -> float:
    """t(N) above; `compute` is c(B/N)."""
    return max(1, n / cores) * compute + step["messages"] * way.latency + step["bytes"] * way.per_byte


def simulated(
    n: int, cores: int, computes: Sequence[float], way: Way, step: dict[str, Any], steps: int = 100, seed: int = 0
) -> float:
    """The mean time of a step, event by event: a rank computes until a message, and there it waits for all the others.

    computes   c(B/N) as it was measured, step by step; each rank's step takes one of these at random
    """
    rng, pieces, now = np.random.default_rng(seed), step["messages"], 0.0
    for _ in range(steps):
        took = rng.choice(computes, n) / pieces
        for _ in range(pieces):
            free = [now] * min(cores, n)  # when each core is next free
            ends = []
            for each in took:
                ends.append(heapq.heappop(free) + each)
                heapq.heappush(free, ends[-1])
            now = max(ends) + way.latency + step["bytes"] / pieces * way.per_byte
    return now / steps


# ---- What is measured, in processes of their own ---------------------------------------------------------


def measured_on(device: str, preset: str, ranks: int, share: int, steps: int) -> dict[str, Any]:
    """What `measure` finds on so many ranks, with the preset's batch divided by `share`."""
    words = [sys.executable, "-m", __name__, device, preset, str(PRESETS[preset].batch // share), str(steps)]
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
                "bytes": gradient_bytes("tiny", stage),
                "inside": statistics.median(inside),
            }
    return {"steps": found} | ({"trace": trace} if ranks else {})


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
