"""A command that mpiexec has started as several ranks."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import MinisrganError
from ..ranks.launch import Place, share_machine
from .console import one_line

if TYPE_CHECKING:
    from ..imaging.patches import PhotoSet
    from ..ranks.communicator import Communicator
    from ..training.config import TrainConfig
    from ..training.trainer import Trainer

SHARED = ("train", "upscale", "evaluate")  # the commands whose work several ranks share
GRACE = 5.0  # seconds in which the others may come to an end too, before one that has failed ends them


def run_as_rank(
    place: Place, parse: Callable[[], argparse.Namespace], attempt: Callable[[argparse.Namespace], tuple]
) -> int:
    """Run a command on this rank. Returns its exit status.

    Rank 0 alone prints. Another rank prints only why it has failed, unless all have failed, as they do by a mistake in
    the options: then rank 0 says it. A rank that has failed by itself ends all: they would wait for it for ever.

    While MPI starts or ends, Ctrl-C would make it crash. So one before the command's work waits until that begins, and
    one after it is ignored.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    errors = sys.stderr
    if place.rank:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")
    args = parse()
    if args.command not in SHARED:
        print(f"minisrgan: {args.command} is for one process: start it without mpiexec", file=sys.stderr)
        return 2
    share_machine(place)
    from ..ranks.mpi import Mpi

    try:
        ranks = args.ranks = Mpi(place)
    except MinisrganError as error:
        print(f"minisrgan: {one_line(error)}", file=sys.stderr)
        return 2
    work = args.run

    def interruptible(args):
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            return work(args)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    args.run = interruptible
    try:
        status, problem = attempt(args)
    except BaseException:
        status, problem = 1, traceback.format_exc()
    if problem and not place.rank:
        print(problem, file=sys.stderr)
    if ranks.meet(*[GRACE] if problem else []):
        return status
    if problem and place.rank:
        said = problem.removeprefix("minisrgan: ")
        print(f"\nminisrgan: rank {place.rank}: {said}", file=errors)  # below rank 0's progress bar
    for stream in (sys.stdout, sys.stderr, errors):
        stream.flush()
    ranks.abort(status or 1)
    return status or 1


# ---- Training: what differs where there are several ranks --------------------------------------------------


def settled(
    asked: Callable[[], tuple[TrainConfig, dict]], ranks: Communicator | None
) -> tuple[TrainConfig, dict[str, Any]]:
    """What `asked` returns: (TrainConfig, what else is to be in config.json). On several ranks, rank 0 asks."""
    if not ranks:
        return asked()
    from ..training.config import TrainConfig
    from ..training.ranked import check_batch

    def first():
        config, about = asked()
        check_batch(config.batch, ranks.size)
        return config.to_dict(), about

    config, about = ranks.from_first(first)
    return TrainConfig.from_dict(config), about


def trainer_of(config: TrainConfig, photos: PhotoSet, device: str, about: dict, ranks: Communicator | None) -> Trainer:
    """A Trainer; on several ranks, the one that leads or one that follows."""
    if not ranks:
        from ..training.trainer import Trainer

        return Trainer(config, photos, device)
    from ..training.leading import Follower, Leader

    return (Follower if ranks.rank else Leader)(config, photos, device, ranks, about.get("sync_batch_norm", False))


@contextmanager
def trained_together(trainer: Trainer, here: dict, ranks: Communicator | None) -> Generator[bool, None, None]:
    """Yields whether this process leads the training. A follower comes to the block when the training is over.

    here   the hashes of the photos and of the VGG

    Raises ConfigError unless all ranks have the same version, device and photos.
    """
    if not ranks:
        yield True
        return
    from ..training.leading import Follower, Leader

    names = json.dumps(here, sort_keys=True)
    photos = f"{len(here['photos'])} ({hashlib.sha256(names.encode()).hexdigest()[:8]})"
    ranks.check_alike({"version of minisrgan": __version__, "device": trainer.device, "set of photos": photos})
    if isinstance(trainer, Follower):
        trainer.follow()
        yield False
        return
    each = trainer.config.batch // ranks.size
    print(f"{ranks.size} ranks, with {each} of the {trainer.config.batch} crops of a step each")
    assert isinstance(trainer, Leader)
    if trainer.has_own_batch_norm():
        print(f"batch norm: of each rank's own {each}; with --sync-batch-norm, of all {trainer.config.batch}")
    with trainer.leading():
        yield True
