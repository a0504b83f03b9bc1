"""A run's measurements and pictures for TensorBoard, in the run's folder `tensorboard`.

Each row of log.csv becomes one event, with the tags pretrain/loss_g, gan/loss_g and so on at the step of the stage; the
picture of that step in samples/ is part of it. When the run is resumed, or goes back, the events of all steps
that will be taken again are removed, and those that are missing are written.
"""

import struct
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import ConfigError
from ..files import write_whole
from ..names import STAGES
from .run import TEXTS, Run, place

if TYPE_CHECKING:
    from .trainer import Trainer

FOLDER = "tensorboard"
NUMBERS = "stage step seconds".split()  # columns that are not drawn


def run_with_board(folder: Path, asked_for: bool) -> Run:
    """A run that keeps a folder for TensorBoard too.

    Without tensorboardX: a ConfigError if it was asked for now; if it was when the run began, a plain run and a line.
    """
    if find_spec("tensorboardX"):
        return BoardRun(folder)
    line = "TensorBoard's files are written by tensorboardX: pip install 'tensorboardX>=2.6'"
    if asked_for:
        raise ConfigError(line)
    print(f"{folder / FOLDER} is not continued: {line}", file=sys.stderr)
    return Run(folder)


class BoardRun(Run):
    """A Run that keeps a folder for TensorBoard too."""

    @cached_property
    def events(self) -> Any:
        """The file that events are added to, a new one each time: two of the same second would have the same name."""
        from tensorboardX import FileWriter

        return FileWriter(str(self.folder / FOLDER), filename_suffix=f".{len(self._files())}")

    def _files(self):
        return sorted((self.folder / FOLDER).glob("*.tfevents.*"))

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add measurements to the log, and to TensorBoard's folder."""
        rows = list(rows)
        super().append(rows)
        for row in rows:
            self._add(row)

    def restore(self, trainer: "Trainer") -> None:
        super().restore(trainer)
        self._go_on()

    def go_back(self, trainer: "Trainer") -> None:
        super().go_back(trainer)
        self._go_on()

    def unlock(self) -> None:
        if "events" in vars(self):
            self.events.close()
            del self.events
        super().unlock()

    __del__ = unlock

    def _add(self, row):
        """Add a row of the log, with its picture, as one event."""
        from tensorboardX.proto.summary_pb2 import Summary

        stage, step = row["stage"], int(row["step"])
        numbers = {name: row[name] for name in row if name not in (*TEXTS, *NUMBERS) and row[name] not in ("", None)}
        values = [Summary.Value(tag=f"{stage}/{name}", simple_value=float(number)) for name, number in numbers.items()]
        picture = self.folder / "samples" / f"{stage}-{step:06d}.png"
        if "psnr" in numbers and picture.is_file():
            with Image.open(picture) as image:
                width, height = image.size
            shown = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=picture.read_bytes())
            values.append(Summary.Value(tag=f"{stage}/sample", image=shown))
        self.events.add_summary(Summary(value=values), step)
        if "psnr" in numbers:
            self.events.flush()

    def _go_on(self):
        """Bring the folder to what the log has."""
        if "events" in vars(self):
            self.events.close()
            del self.events
        there = {place(row["stage"], row["step"]) for row in self.rows()}
        written = set()
        for path in self._files():
            kept = []
            for record, at in records(path):
                if at is None or at in there:
                    kept.append(record)
                    written.add(at)
            write_whole(path, kept)
        for row in self.rows():
            if place(row["stage"], row["step"]) not in written:
                self._add(row)


def records(path: Path) -> Iterator[tuple[bytes, tuple[int, int] | None]]:
    """(an event's bytes as they are in the file, the `place` of its step, or None) of each event.

    A record is its length as eight bytes and their checksum, the event, and its checksum. A torn record ends the file.
    """
    from tensorboardX.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        end = at + 12 + length + 4
        if end > len(data):
            return
        event = Event.FromString(data[at + 12 : end - 4])
        stage = event.summary.value[0].tag.partition("/")[0] if event.summary.value else ""
        yield data[at:end], place(stage, event.step) if stage in STAGES else None
        at = end
