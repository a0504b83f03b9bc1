"""Feeds damaged files to each reader, which must read a file correctly or refuse it in one line.

    python tests/fuzz.py --seconds 3600

A test runs it for some seconds. Valid files are mutated, and read in a process of limited memory and time. Anything but
a clean result or a MinisrganError of one line is a failure: another exception or warning, a crash, a hang, too much
memory; and, where a file carries a checksum, other numbers than were written. The files of failures are kept.
"""

import argparse
import io
import json
import logging
import mmap
import os
import pickle
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from pathlib import Path

if __name__ == "__main__":
    os.environ.update(
        OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1"
    )  # memory is limited, and each thread's stack counts

import numpy as np
from PIL import Image
from safetensors.numpy import save

from minisrgan.errors import MinisrganError
from minisrgan.exporting.torch import pth
from minisrgan.imaging.files import read_photo
from minisrgan.imaging.patches import PhotoSet
from minisrgan.models.architectures import build
from minisrgan.models.compact import CompactConfig
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.esrgan import MSRResNetConfig, RRDBConfig
from minisrgan.models.generator import Generator, GeneratorConfig
from minisrgan.models.vgg import VGGConfig
from minisrgan.names import STAGES
from minisrgan.training.config import Stage, TrainConfig
from minisrgan.training.run import Run, parts
from minisrgan.training.trainer import Trainer
from minisrgan.weights import vgg as vgg_weights
from minisrgan.weights.array_files import KEY, SafetensorsFile
from minisrgan.weights.generators import load_generator, save_generator
from minisrgan.weights.torch_files import MAGIC, VERSION, read_torch
from minisrgan.weights.torch_layout import to_torch
from minisrgan.weights.vgg import load_vgg, save_vgg, shapes

MEMORY = 2 << 30  # bytes more than the process has at its beginning
PATIENCE = 20  # seconds for one file
LONGEST = 2000  # characters of a line that refuses a file
THIN19 = ((2,) * 2, (2,) * 2, (3,) * 4, (3,) * 4, (4,) * 4)
CONFIG = TrainConfig(
    generator=GeneratorConfig(channels=2, blocks=1, edge_kernel=3),
    discriminator=DiscriminatorConfig(channels=2, dense=2, crop=16),
    batch=1,
    pretrain=Stage(2, 1e-3),
    gan=Stage(2, 1e-3, ema=0.5),
    content_weight=1.0,
    adversarial_weight=0.0,
    adversarial_share=1.0,
)
TOKENS = (
    "null",
    "[]",
    "{}",
    "-1",
    "1e30",
    "1e999",
    "NaN",
    "true",
    '""',
    "0",
    "9" * 400,
    "[" * 2000,
    "1.5",
    "2147483648",
)
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)

# ---- Mutations: (random.Random, bytes) -> bytes ---------------------------------------------------------------


def damaged(rng, data):
    """The bytes with one to four damages, most of them near the beginning or the end, where the structure is."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not data:
            break
        size = len(data)
        near = min(size, 600)
        at = rng.choice((rng.randrange(near), rng.randrange(size), size - 1 - rng.randrange(near)))
        length = rng.choice((1, 2, 4, 8, 16, 100))
        match rng.randrange(8):
            case 0 | 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[at] = rng.choice((0, 0xFF, 0x7F, 0x80, 0x22, 0x5C, 0x2E, rng.randrange(256)))
            case 3:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) & (1 << 8 * width) - 1
                data[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[rng.randrange(size) :][:length]
            case 6:
                data[at : at + length] = rng.randbytes(length)
            case 7:
                del data[at:]
    return bytes(data)


def reworded(rng, data):
    """The text with one number, word or piece replaced by another."""
    words = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"]{0,60}"|null|true|false|[\[\]{}]', data))
    if not words or rng.random() < 0.2:
        return damaged(rng, data)
    for word in sorted(rng.sample(words, min(len(words), rng.choice((1, 1, 2)))), key=lambda w: -w.start()):
        other = rng.choice((*TOKENS, rng.choice(words)[0].decode(errors="replace"), str(rng.randrange(1000))))
        data = data[: word.start()] + other.encode() + data[word.end() :]
    return data


def rewritten_header(rng, data):
    """A safetensors file whose header has other words, and the right length."""
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    parsed = json.loads(header)
    if "__metadata__" in parsed and rng.random() < 0.5:  # the JSON within the JSON
        text = parsed["__metadata__"][KEY]
        parsed["__metadata__"][KEY] = reworded(rng, text.encode()).decode(errors="replace")
        header = json.dumps(parsed).encode()
    else:
        header = reworded(rng, header)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def rewritten_pickle(rng, data):
    """A zip file of PyTorch whose pickle is damaged, but has the right checksum."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, damaged(rng, member) if name.endswith(".pkl") else member)
    return out.getvalue()


def rewritten_chunk(rng, data):
    """A PNG file with a damaged chunk that has the right checksum."""
    if not data.startswith(b"\x89PNG"):
        return damaged(rng, data)
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at + 4 : at + 8 + length])
        at += 12 + length
    which = rng.randrange(len(chunks))
    chunks[which] = chunks[which][:4] + damaged(rng, chunks[which][4:])
    made = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return data[:8] + b"".join(made)


# ---- Readers: each with valid files, what damages them, and a function that reads one -----------------------------


class Reader:
    """seeds: files' bytes; mutations: as above; read: a path -> what is in it, of which only equality counts."""

    def __init__(self, seeds, mutations, read, name="file"):
        self.seeds, self.mutations, self.read, self.name = seeds, mutations, read, name
        self.right = None  # what `read` gives of the seeds, where they carry a checksum

    def sealed(self):
        self.right = True
        return self


def numbers(arrays):
    return {name: (array.shape, array.tobytes()) for name, array in arrays.items()}


def read_generator(path):
    return numbers(load_generator(path).state())


def read_vgg(path):
    return numbers(load_vgg(path, family="caffe").state())


def read_pytorch(path):
    return numbers({name: lazy.read() for name, lazy in read_torch(path).items()})


def read_pixels(path):
    return [None if array is None else array.shape for array in read_photo(path)[:2]]


def without_checksum(path):
    """The same file as an earlier version would have written it."""
    with open(path, "rb") as file:
        stored = SafetensorsFile(file)
        arrays, about = {name: stored.read(name) for name in stored.arrays}, stored.about()
    about.pop("sha256")
    return save(arrays, {KEY: json.dumps(about)})


def readers(folder):
    """{name: Reader}; the files that they need are in the folder."""
    generator = folder / "generator.safetensors"
    save_generator(generator, Generator(CONFIG.generator, np.random.default_rng(0)), seed=1)
    safetensors = (damaged, rewritten_header)
    found = {
        "generator": Reader([generator.read_bytes()], safetensors, read_generator).sealed(),
        "older generator": Reader([without_checksum(generator)], safetensors, read_generator),
    }
    vgg_weights.VGG19, vgg_weights.NAMES = THIN19, {THIN19: "VGG19"}
    found |= vggs(folder) | runs(folder) | shared_models()
    found["photos"] = Reader(photos(), (damaged, damaged, rewritten_chunk), read_pixels)
    return found


def shared_models():
    """Files of others: a small network of each kind."""
    states = []
    for config in (CompactConfig(3, 1), RRDBConfig(3, 1, 2, 2, 2), MSRResNetConfig(3, 1)):
        g = build(config, np.random.default_rng(0))
        states.append(to_torch(g, g.state()))
    return {
        "shared .pth": Reader([pth(state) for state in states], (damaged, rewritten_pickle), read_generator),
        "shared .safetensors": Reader([save(state) for state in states], (damaged, rewritten_header), read_generator),
    }


def vggs(folder):
    path, rng = folder / "vgg.safetensors", np.random.default_rng(0)
    outward = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes(THIN19).items()}
    inward = {name: a.transpose(2, 3, 1, 0) if a.ndim == 4 else a for name, a in outward.items()}
    save_vgg(path, VGGConfig(THIN19, "caffe"), inward)
    foreign = save({name: a.astype(np.float16) for name, a in outward.items()}, {KEY: '{"variant": "caffe"}'})
    zipped, stream = pytorch_files(outward)
    found = {
        "VGG": Reader([path.read_bytes()], (damaged, rewritten_header), read_vgg).sealed(),
        "foreign VGG": Reader([foreign], (damaged, rewritten_header), read_vgg),
        "PyTorch's zip": Reader([zipped], (damaged, rewritten_pickle), read_pytorch),
        "PyTorch's stream": Reader([stream], (damaged,), read_pytorch),
    }
    try:
        import h5py
    except ImportError:
        return found
    with h5py.File(folder / "vgg.h5", "w") as file:
        for (i, j), (index, _, _) in VGGConfig(THIN19).convolutions().items():
            group = file.create_group(f"block{i}_conv{j}")
            group.create_dataset("kernel", data=inward[f"features.{index}.weight"], chunks=True, compression="gzip")
            group["bias"] = inward[f"features.{index}.bias"]
    return found | {"HDF5": Reader([(folder / "vgg.h5").read_bytes()], (damaged,), read_vgg)}


def pytorch_files(arrays):
    """The arrays in PyTorch's two formats."""

    class Named:  # pickled as a name alone
        def __init__(self, module, name):
            self.module, self.name = module, name

    class Pickler(pickle._Pickler):
        def save(self, thing, save_persistent_id=True):
            if isinstance(thing, Named):
                return self.write(f"c{thing.module}\n{thing.name}\n".encode())
            return super().save(thing, save_persistent_id)

        def persistent_id(self, thing):
            return thing[1:] if isinstance(thing, tuple) and thing[:1] == ("persistent",) else None

        def save_tensor(self, key, array):
            kind = Named("torch", "FloatStorage")
            strides = tuple(stride // 4 for stride in array.strides)
            stored = ("persistent", "storage", kind, key, "cpu", array.size)
            self.save(Named("torch._utils", "_rebuild_tensor_v2"))
            self.save((stored, 0, array.shape, strides, False, {}))
            self.write(pickle.REDUCE)

    def pickled(write):
        out = io.BytesIO()
        pickler = Pickler(out, 2)
        pickler.write(b"\x80\x02")
        write(pickler)
        pickler.write(pickle.STOP)
        return out.getvalue()

    def state(pickler):
        pickler.write(b"}(")
        for key, (name, array) in enumerate(arrays.items()):
            pickler.save(name)
            pickler.save_tensor(str(key), array)
        pickler.write(b"u")

    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(state))
        for key, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{key}", array.tobytes())
    machine = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    stream = [pickle.dumps(each, 2) for each in (MAGIC, VERSION, machine)] + [pickled(state)]
    stream.append(pickle.dumps([*map(str, range(len(arrays)))], 2))
    stream += [struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()]
    return zipped.getvalue(), b"".join(stream)


def runs(folder):
    """The three files of a run that are read when it is resumed."""
    photo = np.random.default_rng(0).integers(256, size=(20, 20, 3), dtype=np.uint8)
    trainer = Trainer(CONFIG, PhotoSet([("a", photo)], 4, 16), "numpy")
    run = Run.create(folder / "run", CONFIG, trainer, data=None, stages=STAGES, photos=trainer.photos.hashes)
    rows = [{"stage": "pretrain", "step": step, "loss_g": 0.1 / step, "seconds": step, "psnr": 20} for step in (1, 2)]
    run.append(rows)
    trainer.step = 2
    run.save(trainer)
    run.unlock()
    whole = {path.name: path.read_bytes() for path in (run.checkpoint, run.log, run.folder / "config.json")}
    older = without_checksum(run.checkpoint)

    def read(path):
        for name, data in whole.items():
            if name != path.name:
                (path.parent / name).write_bytes(data)
        run = Run(path.parent)
        config, about = run.config()
        if path.name == "config.json":
            return config, str(about)
        run.rows()
        run.rows(most=1)
        run.seconds()
        run.measured("pretrain", 1, 1)
        try:
            run.restore(trainer)
        finally:
            run.unlock()
        state = {f"{part}.{name}": a for part, owner in parts(trainer).items() for name, a in owner.state().items()}
        return trainer.stage, trainer.step, trainer.rollbacks, trainer.shares.state(), run.position(), numbers(state)

    kinds = {
        run.checkpoint.name: (damaged, rewritten_header),
        run.log.name: (damaged, reworded),
        "config.json": (reworded,),
    }
    found = {name: Reader([whole[name]], mutations, read, name) for name, mutations in kinds.items()}
    found[run.checkpoint.name].sealed()
    found["older checkpoint"] = Reader([older], (damaged, rewritten_header), read, run.checkpoint.name)
    return found


def photos():
    """The bytes of small photos in each format, and of odd kinds of pixels."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(256, size=(12, 17, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(65536, size=(12, 17), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        (rgb, "PNG", {}), (rgb.convert("RGBA"), "PNG", {}), (deep, "PNG", {}), (rgb.convert("1"), "PNG", {}),
        (rgb.quantize(16), "PNG", {"transparency": 3}), (rgb, "JPEG", {"exif": exif}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb.convert("L"), "JPEG", {"progressive": True}), (rgb, "TIFF", {}), (deep, "TIFF", {}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}), (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        (rgb, "WEBP", {"lossless": True}), (rgb, "GIF", {}), (rgb, "BMP", {}),
    ]  # fmt: skip
    made = []
    for image, kind, options in kinds:
        out = io.BytesIO()
        image.save(out, kind, **options)
        made.append(out.getvalue())
    return made


# ---- Running them --------------------------------------------------------------------------------------------------


def case(reader, seed, number):
    """A reader's mutant with that number."""
    rng = random.Random(f"{seed} {number}")
    return rng.choice(reader.mutations)(rng, rng.choice(reader.seeds))


def judge(reader, path):
    """What is wrong with how a reader takes a file, in words; "" if nothing is."""
    try:
        got = reader.read(path)
    except MinisrganError as error:
        line = str(error)
        return "" if "\n" not in line and len(line) < LONGEST else f"not one line: {line[:300]!r}"
    except Exception:
        return traceback.format_exc()
    return "" if reader.right in (None, got) else "the damage was not noticed"


def child(reader, seed, folder, until, progress):
    """Try one file after another, and write each one's number to `progress`. Ends the process."""
    status = 1
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where libtiff tells of each damage
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
        warnings.simplefilter("error")
        logging.disable()
        number = int.from_bytes(progress[:8], "little")
        path = folder / reader.name
        while time.time() < until:
            path.write_bytes(case(reader, seed, number))
            signal.alarm(PATIENCE)  # which ends the process
            wrong = judge(reader, path)
            signal.alarm(0)
            if wrong:
                (folder / "wrong").write_text(wrong)
                break
            number += 1
            progress[:8] = number.to_bytes(8, "little")
        else:
            status = 0
    finally:
        os._exit(status)


def fuzz(name, reader, seed, seconds, folder, keep):
    """(how many files were tried, how many of them failed)."""
    folder.mkdir()
    if reader.right:
        (folder / reader.name).write_bytes(reader.seeds[0])
        reader.right = reader.read(folder / reader.name)
    until, failures = time.time() + seconds, 0
    progress = mmap.mmap(-1, 8)
    while True:
        if (process := os.fork()) == 0:
            child(reader, seed, folder, until, progress)
        _, status = os.waitpid(process, 0)
        number = int.from_bytes(progress[:8], "little")
        if status == 0:
            return number, failures
        failures += 1
        keep.mkdir(parents=True, exist_ok=True)
        kept = keep / f"{re.sub('[^a-z0-9.]+', '-', name.lower())}-{seed}-{number}{Path(reader.name).suffix}"
        kept.write_bytes(case(reader, seed, number))
        how = f"signal {os.WTERMSIG(status)}\n" if os.WIFSIGNALED(status) else (folder / "wrong").read_text()
        print(f"{kept}: number {number} of seed {seed}, {name}:\n{how}", file=sys.stderr)
        progress[:8] = (number + 1).to_bytes(8, "little")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for all readers together (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations; by default the time")
    parser.add_argument("--only", help="the readers whose name has this in it")
    parser.add_argument("--keep", type=Path, default="fuzz-failures", help="folder for what failed (fuzz-failures)")
    args = parser.parse_args()
    folder, tried, failed = Path(tempfile.mkdtemp(prefix="minisrgan-fuzz-")), 0, 0
    try:
        chosen = {name: each for name, each in readers(folder).items() if not args.only or args.only in name}
        for name, reader in chosen.items():
            seconds = args.seconds / len(chosen)
            count, failures = fuzz(
                name, reader, args.seed, seconds, folder / f"of {len(os.listdir(folder))}", args.keep
            )
            print(f"{name}: {count} files, {failures} failed", flush=True)
            tried, failed = tried + count, failed + failures
    finally:
        shutil.rmtree(folder)
    print(f"{tried} damaged files, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
