"""Generators that others share: which network a file holds, by the names and shapes of its arrays.

    SRVGGNetCompact   realesr-animevideov3, realesr-general-x4v3 and many others
    RRDBNet           ESRGAN and Real-ESRGAN, in the names of three generations of their code
    MSRResNet         BasicSR's SRResNet

Nothing in a file is run (torch_files.py). Any other network is refused, with a guess at what it is.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from ..errors import WeightsError
from ..models.architectures import Config
from ..models.compact import CompactConfig
from ..models.esrgan import MSRResNetConfig, RRDBConfig
from .array_files import KEY, Lazy, check_regular, first_bytes, lazy_array, open_checked
from .torch_files import ZIP, read_torch

ADVICE = "give a generator.safetensors of a run, or a Compact, ESRGAN or MSRResNet as .pth or .safetensors"
PICKLE = b"\x80"  # how torch.save's older files begin
NESTS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")  # the best first
PREFIXES = ("module.", "netG.", "generator.")  # that some trainings put before each name
RENAMED = {  # names of earlier code: those of BasicSR
    r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.": r"body.\1.rdb\2.conv\3.",
    r"model\.1\.sub\.\d+\.(?=weight$|bias$)": "conv_body.",
    r"RRDB_trunk\.(\d+)\.RDB(\d)\.": r"body.\1.rdb\2.",
    r"trunk_conv\.": "conv_body.",
    r"recon_trunk\.": "body.",
    r"HRconv\.": "conv_hr.",
}
OTHERS = {  # what a name tells of networks that are not read
    r"conv1x1": "ESRGAN+",
    r"relative_position|attn|qkv": "a transformer, such as SwinIR, HAT or DAT",
    r"conv_du": "RCAN",
    r"stylegan|style_conv": "GFPGAN, for faces",
    r"conv_after_body": "EDSR",
    r"eval_conv": "SPAN",
    r"\bsafm\b": "SAFMN",
    r"\blk\b": "PLKSR",
    r"weight_orig|discriminator": "a discriminator",
    r"^features\.": "VGG",
    r"^trunk\.": "a generator exported from minisrgan",
}


def read_shared(path: Path | str) -> dict[str, Lazy] | None:
    """{name: Lazy} of a file of arrays that another program wrote; None for one of ours."""
    check_regular(path, ADVICE)
    start = first_bytes(path)
    if start.startswith(ZIP) or start.startswith(PICKLE) and start[8:9] != b"{":  # as safetensors' header begins
        found = read_torch(path, ADVICE, NESTS)
    else:
        with open_checked(path, ADVICE) as file:
            if KEY in file.metadata:
                return None
            found = {name: lazy_array(path, name, each, ADVICE) for name, each in file.arrays.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): lazy for name, lazy in found.items()}
    return {renamed: found[name] for name, renamed in names_of_today(found).items()}


def names_of_today(names: Mapping[str, object]) -> dict[str, str]:
    """{name: its name in BasicSR's code}."""
    pairs = {r"upconv(\d)\.": r"conv_up\1."} if any("RDB" in name for name in names) else {}
    numbered = [re.fullmatch(r"model\.([0-9]{1,4})\.(weight|bias)", name) for name in names]
    layers = sorted({int(found[1]) for found in numbered if found})
    if len(layers) > 2:  # the first ESRGAN numbers its layers
        first, *ups, hr, last = layers
        titles = {first: "conv_first", hr: "conv_hr", last: "conv_last"}
        titles |= {n: f"conv_up{i}" for i, n in enumerate(ups, 1)}
        pairs |= {rf"model\.{n}\.(?=weight$|bias$)": f"{title}." for n, title in titles.items()}
    renamed = {}
    for name in names:
        renamed[name] = name
        for pattern, new in (pairs | RENAMED).items():
            renamed[name] = re.sub(f"^{pattern}", new, renamed[name])
    return renamed


def recognised(path: Path | str, shapes: Mapping[str, tuple[int, ...]]) -> Config:
    """The configuration of the network whose arrays have these names and shapes, in PyTorch's order.

    Only what tells it is looked at: whether all arrays fit it is for the caller to check. Raises WeightsError for a
    network that is not known.
    """
    try:
        config = configuration(shapes)
    except (LookupError, ValueError) as error:  # a ConfigError too
        problem = f"there is no {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path}: its arrays fit no network that is known ({problem}); {ADVICE}") from None
    if config is None:
        refuse(path, shapes)
    return config


def configuration(shapes: Mapping[str, tuple[int, ...]]) -> Config | None:
    """As `recognised`. None for another network; raises LookupError, ValueError or ConfigError for a damaged one."""
    blocks = 1 + max((int(name.split(".")[1]) for name in shapes if re.match(r"body\.\d+\.", name)), default=-1)
    if "body.0.rdb1.conv1.weight" in shapes:
        colours, folded = shapes["conv_last.weight"][0], shapes["conv_first.weight"][1]
        fold = side_of_squares(folded, colours)
        check_colours(folded / fold**2, colours)
        doublings = sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in shapes)
        scale, rest = divmod(2**doublings, fold)
        if rest:
            raise ValueError(f"it folds {fold} pixels, and then enlarges {2**doublings} times")
        growth, channels = shapes["body.0.rdb1.conv1.weight"][:2]
        return RRDBConfig(channels, blocks, growth, scale, fold)
    if "body.0.conv1.weight" in shapes and "upconv1.weight" in shapes:
        check_colours(shapes["conv_first.weight"][1], shapes["conv_last.weight"][0])
        channels, shuffled = shapes["conv_first.weight"][0], shapes["upconv1.weight"][0]
        scale = 4 if "upconv2.weight" in shapes else math.isqrt(shuffled // channels)
        return MSRResNetConfig(channels, blocks, scale)
    if "body.0.weight" in shapes and "body.1.weight" in shapes:
        channels, colours = shapes["body.0.weight"][:2]
        last = shapes[f"body.{blocks - 1}.bias"][0]
        scale = side_of_squares(last, colours)
        check_colours(colours, last / scale**2)
        return CompactConfig(channels, (blocks - 3) // 2, scale)
    return None


def side_of_squares(channels: int, colours: int) -> int:
    """r, if the channels are the r² pixels of squares, with so many colours each."""
    return math.isqrt(channels // colours) if 0 < colours <= channels else 1


def check_colours(seen: float, made: float) -> None:
    if (seen, made) != (3, 3):
        raise ValueError(f"it takes {seen:g} channels and gives {made:g}, and colour photos have 3")


def refuse(path: Path | str, names: Mapping[str, object]) -> NoReturn:
    """Raise WeightsError, with what the network seems to be."""
    for pattern, network in OTHERS.items():
        if any(re.search(pattern, name) for name in names):
            raise WeightsError(f"{path}: seems to be {network}, which is not read; {ADVICE}")
    shown = ", ".join(repr(name[:60]) for name in [*names][:2]) or "none at all"
    raise WeightsError(f"{path}: holds {len(names)} arrays of an unknown network ({shown}); {ADVICE}")
