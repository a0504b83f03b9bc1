"""Runs side by side: what differs in their settings, their figures and curves, and the photos that they share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..imaging.patches import centre
from ..names import STAGES
from ..pages.curves import Chart, charts
from ..pages.markup import Html, element, number, section, table, write_page
from ..pages.viewer import Item, viewer, within
from ..training.config import TrainConfig
from ..training.looks import LABELS, Keeping, Looks, check_images, read_looks
from ..training.photos import check_same, gather, hashes
from ..training.run import Run
from ..training.run_page import POINTS, Rows, duration, flat, milliseconds, said, series, write_report

CURVES = {  # what runs are compared in: (column, the stage whose steps count, None: both, logarithmic axis, unit)
    "PSNR of held-out photos": ("psnr", None, False, "dB on Y"),
    "Pixel loss in stage 1": ("loss_pixel", "pretrain", True, ""),
    "Content loss in the GAN stage": ("loss_content", "gan", True, ""),
    "Adversarial loss": ("loss_adversarial", "gan", True, ""),
    "How often D is right": ("d_right", "gan", False, ""),
    "G's gradient in its parameters": ("grad_g", None, True, ""),
}


class Seen(NamedTuple):
    """A run, by the name that it has on the page."""

    name: str
    run: Run
    config: TrainConfig
    about: dict[str, Any]
    rows: Rows
    looks: Looks

    def of(self, stage: str | None) -> Rows:
        """The rows of the log, or those of one stage."""
        return [row for row in self.rows if stage in (None, row["stage"])]

    @property
    def best(self) -> str:
        """The last stage that it has looked at."""
        return [stage for stage in STAGES if stage in self.looks.figures][-1]


def report(folder: str | Path, out: str | Path, start: Callable[[], str]) -> None:
    """Write the page of one run. Raises what `see` raises, and OSError."""
    run = Run(folder)
    see(run, start)
    write_report(run, path=out)


def see(run: Run, start: Callable[[], str]) -> Looks:
    """What a run has kept of its looks. For a run of an earlier version, that is made first.

    start   chooses the device, where that is needed

    Raises ConfigError if the folder is no run's, or if the run has not looked at its photos yet.
    """
    config, about = run.config()
    if looks := read_looks(run):
        check_images(looks)
        return looks
    measured = [row for row in run.rows(POINTS) if row["psnr"]] if run.log.is_file() else []
    if not measured:
        raise ConfigError(f"{run.folder} has not looked at its held-out photos yet: let it train a little longer")
    run.lock()
    try:
        device, photos = start(), gather(config, about)
        check_same(run, about, hashes(photos.crops, photos.held_out))
        held_out = [(centre(each.rgb) if each.lr is None else each.rgb, each.lr) for each in photos.held_out]
        kept = Keeping(run, len(held_out))
        for stage, weights in {"pretrain": run.pretrained, "gan": run.generator}.items():
            steps = [int(row["step"]) for row in measured if row["stage"] == stage]
            if steps or stage == "pretrain" and weights.is_file():
                kept.enlarge(stage, max(steps, default=0), weights, held_out, device)
        kept.write(device)
    finally:
        run.unlock()
    looks = read_looks(run)
    assert looks
    return looks


def compare(folders: Sequence[str | Path], out: str | Path, start: Callable[[], str]) -> None:
    """Write a page with runs side by side. Raises what `see` raises, and OSError."""
    seen = []
    for name, run in zip(names_of(folders), map(Run, folders)):
        looks = see(run, start)
        seen.append(Seen(name, run, *run.config(), run.rows(POINTS), looks))
    parts = [*shared_photos(seen), section("Figures", figures(seen)), section("What differs", differing(seen))]
    parts.append(section("Curves", curves(seen)))
    parts.append(section("Speed", speed(seen)))
    write_page(out, "Runs compared", ", ".join(each.name for each in seen), *parts)


def names_of(folders: Sequence[str | Path]) -> list[str]:
    """A short name for each run: the end of its path, as long as it takes to tell them apart, and from the versions of
    a photo, such as HR.

    Raises ConfigError if one folder is named twice.
    """
    paths = [Path(folder).resolve() for folder in folders]
    if len({*paths}) < len(paths):
        raise ConfigError("the same run is named twice: name different ones")
    length = 1
    others = {*LABELS.values()}
    while len({*(names := ["/".join(path.parts[-length:]) for path in paths])} - others) < len(names):
        length += 1
    return names


def shared_photos(seen: Sequence[Seen]) -> list[Html]:
    """The held-out photos that all of these runs have, under the slider."""
    versions = [[each.looks.images(n) for n in range(len(each.looks.names))] for each in seen]
    items = []
    for photo, (name, first) in enumerate(zip(seen[0].looks.names, versions[0])):
        places = [[images["HR"] for images in of_run].index(first["HR"]) for of_run in versions
                  if first["HR"] in [images["HR"] for images in of_run]]  # fmt: skip
        if len(places) < len(seen):
            continue
        place = seen[0].looks.figures["photos"][photo]["place"]
        items.append(item(name, seen, [of_run[n] for of_run, n in zip(versions, places)], places, tuple(place)))
    kept, _ = within(items)
    if not kept:
        return [element("p", "These runs share no held-out photo, so none is shown side by side.", class_="note")]
    lead = "Held-out photos that all of these runs share, as each run last enlarged them. PSNR is on Y."
    return [element("section", viewer(kept, seen[-2].name, seen[-1].name), element("p", lead, class_="note"))]


def item(
    name: str, seen: Sequence[Seen], versions: Sequence[Mapping[str, bytes]], places: Sequence[int], place: Any
) -> Item:
    """A photo as each of the runs enlarged it. Photos that each run degrades have another bicubic in each run.

    places   which of each run's photos it is
    """
    images, below, same = {}, {}, len({each["bicubic"] for each in versions}) == 1
    for each, of_run, n in zip(seen, versions, places):
        last, psnr = each.best, {key: number(each.looks.figures[key]["photos"][n]) for key in ("bicubic", each.best)}
        if not same or each is seen[0]:
            label = "bicubic" if same else f"{each.name}: bicubic"
            images[label], below[label] = of_run["bicubic"], f"{psnr['bicubic']} dB"
        images[each.name], below[each.name] = of_run[LABELS[last]], f"{LABELS[last]}, {psnr[last]} dB"
    return Item(name, images | {"HR": versions[0]["HR"]}, below, place)


def figures(seen: Sequence[Seen]) -> Html:
    """The figures of each run's stages."""
    named = {each.looks.figures.get("perceptual") for each in seen} - {None}
    name = next(iter(named)) if len(named) == 1 else None
    rows = []
    for each in seen:
        for key in ("bicubic", *STAGES):
            if found := each.looks.figures.get(key):
                psnr_y, psnr_rgb, ssim, far = found["mean"]
                after = f", step {found['step']:,}" if found.get("step") else ""
                label = f"{each.name}: {LABELS[key]}{after}"
                row = [label, number(psnr_y), number(psnr_rgb), number(ssim, 4)]
                rows.append([*row, number(far, 5)] if name else row)
    head = ["", "PSNR Y", "PSNR RGB", "SSIM", *([f"{name} distance"] if name else [])]
    return table(head, rows, "Means over the middles of each run's held-out photos")


def differing(seen: Sequence[Seen]) -> Html:
    """A table of the settings that are not the same in all of these runs."""
    every = []
    for each in seen:
        values = {**dict(flat(asdict(each.config))), "photos to train on": len(each.about["photos"])}
        values |= {name: each.about.get(name) for name in ("data", "data_lr", "degrade", "stages", "weights")}
        every.append({name: said(value) for name, value in values.items()})
    names = dict.fromkeys(name for values in every for name in values)
    rows = [[name, *(values.get(name, "–") for values in every)] for name in names
            if len({values.get(name) for values in every}) > 1]  # fmt: skip
    if not rows:
        return element("p", "Nothing: their settings are the same.")
    return element("div", table(["setting", *(each.name for each in seen)], rows), class_="words")


def curves(seen: Sequence[Seen]) -> Html:
    """The curves of these runs over each other."""
    drawn = [
        Chart(title, {each.name: series(each.of(stage), column) for each in seen}, log=log, unit=unit)
        for title, (column, stage, log, unit) in CURVES.items()
    ]
    by_time = {
        each.name: [(float(row["seconds"]) / 60, float(row["psnr"])) for row in each.rows if row["psnr"]]
        for each in seen
    }
    first, *others = drawn
    timed = Chart("PSNR against time", by_time, unit="dB on Y", x_name="minutes")
    return charts([first, timed, *others])


def speed(seen: Sequence[Seen]) -> Html:
    """What a step of each run took, and on what."""
    rows: list[list[object]] = []
    for each in seen:
        taken: Mapping[str, float | None] = {stage: milliseconds(each.run, each.rows, stage) for stage in STAGES}
        total = float(each.rows[-1]["seconds"] or 0) if each.rows else 0.0
        about = each.looks.figures
        where = f"{about['device']}: {about['processor']}"
        memory = f"{about['memory'] / 2**20:,.0f} MiB"
        rows.append([each.name, *(number(taken[stage], 1) for stage in STAGES), duration(total), memory, where])
    head = ["run", "stage 1: ms a step", "GAN: ms a step", "in all", "memory", "device"]
    return table(head, rows)
