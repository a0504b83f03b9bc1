"""A step as one CUDA graph, on the stand-in for CuPy: recorded once and replayed on other inputs, it has the bits of
steps that are not recorded. The faults that a graph can hide are planted, and found.

Each in a process of its own, which believes that there is a GPU.
"""

import pytest
from test_acts_like_cupy import minisrgan, pytestmark, snippet  # noqa: F401  the mark skips all where there is no compiler

STEPS = """
import cupy, numpy as np
from cupy import COUNT
from minisrgan.device.graph import WARM_UP, StepGraph
from minisrgan.losses import DiscriminatorLoss, PixelMSE
from minisrgan.models.discriminator import Discriminator
from minisrgan.models.generator import Generator
from minisrgan.studies.bench import QUICK
from minisrgan.tensor import Tensor, grad

LR, HR = (2, 8, 8, 3), (2, 32, 32, 3)

class Generators:
    shapes = LR, HR
    make = lambda: Generator(QUICK.generator, np.random.default_rng(0))
    loss = lambda model, lr, hr: PixelMSE(model(lr), hr)

class Discriminators:
    shapes = HR, HR
    make = lambda: Discriminator(QUICK.discriminator, np.random.default_rng(0))
    loss = lambda model, hr, sr: DiscriminatorLoss(model(hr), model(sr))

def images(number, shapes):
    rngs = [np.random.default_rng([number, i]) for i in range(len(shapes))]
    return [rng.uniform(-1, 1, shape).astype(np.float32) for rng, shape in zip(rngs, shapes)]

def train(of, recorded, steps=WARM_UP + 4, fault=None, between=lambda i, model, step: None):
    '''(the loss of each step, the weights, the step): plain gradient descent at a rate that lies on the device.'''
    model = of.make().to("cuda")
    for _, each in model.modules():
        each.held = True  # batch norm's averages are not written in place
    parameters, rate = model.parameters(), cupy.empty((), np.float32)
    def work(*arrays):
        loss = of.loss(model, *map(Tensor, arrays))
        by = rate
        if fault == "a rate of Python's":
            by = number
        if fault == "an input from elsewhere":
            arrays = here
            loss = of.loss(model, *map(Tensor, arrays))
        if fault == "the host waits":
            loss.item()
        if fault == "a copy from the host":
            by = rate * cupy.asarray(np.float32(1))
        for parameter, gradient in zip(parameters, grad(loss, parameters)):
            if fault == "a new array" and parameter is parameters[-1]:
                parameter.data = parameter.data - by * gradient.data
            else:
                parameter.data -= by * gradient.data
        return loss.data
    slots = [(each, "data") for each in parameters]
    step = StepGraph(work, slots) if recorded else lambda *arrays: work(*map(cupy.asarray, arrays))
    losses = []
    for i in range(steps):
        number = 0.1 / (i + 1)
        rate.fill(number)
        if i == 0:
            here = [cupy.asarray(each) for each in images(0, of.shapes)]
        loss = step(*images(i, of.shapes))
        if i % 3 == 2:  # else the steps go on without waiting for each other
            losses.append(loss.item())
        between(i, model, step)
    return losses, {name: array.tobytes() for name, array in model.state().items()}, step
"""


def run(text):
    return snippet(STEPS + text)


@pytest.mark.parametrize("of", ["Generators", "Discriminators"])
def test_a_recorded_step_has_the_bits_of_one_that_is_not(of):
    run(f"""
plain = train({of}, False)
before = COUNT.copy()
def count(i, model, step):
    if i == WARM_UP:  # the first replay
        before.update(COUNT - before)
    if i > WARM_UP:
        assert COUNT["launches"] == before["launches"], "Python launched kernels"
losses, weights, step = train({of}, True, between=count)
assert step.problem is None and COUNT["graphs"] == 4 and step.arena > 0
assert (losses, weights) == plain[:2]
""")


@pytest.mark.parametrize("fault", ["a rate of Python's", "an input from elsewhere"])
def test_what_is_in_the_graph_instead_of_in_memory_makes_other_bits(fault):
    run(f"""
plain, recorded = train(Generators, False, fault={fault!r}), train(Generators, True, fault={fault!r})
assert recorded[2].problem is None
{"" if "rate" in fault else "plain = train(Generators, False)"}
assert plain[1] != recorded[1], "the fault was not found"
""")


@pytest.mark.parametrize(
    "fault, said",
    [
        ("the host waits", "cudaErrorStreamCaptureUnsupported"),
        ("a copy from the host", "cudaErrorStreamCaptureUnsupported"),
        ("a new array", "it puts a new array in the place of data"),
    ],
)
def test_a_step_that_cannot_be_recorded_goes_on_without_a_graph(fault, said):
    run(f"""
import logging
said = []
logging.getLogger().addHandler(logging.Handler())
logging.getLogger().handlers[-1].emit = lambda record: said.append(record.getMessage())
plain = train(Generators, False, fault={fault!r})
losses, weights, step = train(Generators, True, fault={fault!r})
assert {said!r} in step.problem and step.problem in said[0] and len(said) == 1
assert (losses, weights) == plain[:2] and COUNT["graphs"] == 0 and step.arena == 0
""")


def test_it_is_recorded_anew_for_other_sizes_and_for_a_state_in_another_place():
    run("""
def sizes(i, model, step):
    Generators.shapes = ((1, 4, 4, 3), (1, 16, 16, 3)) if i in (3, 4, 5, 6) else (LR, HR)
def loaded(i, model, step):
    if i == 4:
        model.load_state(model.state())
for change, replays in (sizes, 2 + 2 + 3), (loaded, 3 + 4):
    plain = train(Generators, False, steps=12, between=change)
    Generators.shapes, before = (LR, HR), COUNT["graphs"]
    recorded = train(Generators, True, steps=12, between=change)
    Generators.shapes = LR, HR
    assert plain[:2] == recorded[:2] and recorded[2].problem is None
    print(COUNT["graphs"] - before)
""")


def test_a_buffer_is_not_filled_again_before_it_was_copied():
    """Without the events, the inputs of later steps would be there: nobody waits in between."""
    run("""
plain = train(Generators, False, steps=8)
cupy.cuda.Event.synchronize = lambda self: None
assert train(Generators, True, steps=8)[1] != plain[1], "the stand-in copies too early to see it"
""")


def test_an_op_on_what_a_replay_changed_is_refused_its_gradient():
    run("""
from minisrgan.errors import GraphError
def look(i, model, step):
    if i == WARM_UP + 1:
        look.loss = Generators.loss(model, *map(Tensor, map(cupy.asarray, images(0, Generators.shapes))))
        look.parameters = model.parameters()
train(Generators, True, between=look)
try:
    grad(look.loss, look.parameters)
except GraphError as error:
    assert "a step that was replayed" in str(error)
else:
    raise SystemExit("a gradient at the wrong point")
""")


def test_it_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("MINISRGAN_GRAPH", "off")
    run("""
losses, weights, step = train(Generators, True)
assert step.problem == "MINISRGAN_GRAPH=off" and COUNT["graphs"] == 0
assert (losses, weights) == train(Generators, False)[:2]
""")


def test_an_older_cupy_cannot_record():
    run("""
del cupy.cuda.Stream.begin_capture
assert "cannot record a stream" in train(Generators, True)[2].problem
""")


# ---- Does the stand-in record as CUDA does? ------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    ["x.get()", "x.sum().item()", "float(x[0])", "bool(x[0])", "stream.synchronize()", "cupy.asarray(np.ones(3))",
     "x.set(np.ones(3))", "cupy.cuda.runtime.deviceSynchronize()", "cupy.cuda.Event().record()"],
)  # fmt: skip
def test_what_cuda_refuses_while_it_records_is_refused_and_ends_the_recording(statement):
    snippet(f"""
import cupy, numpy as np
x, stream = cupy.ones(3), cupy.cuda.Stream(non_blocking=True)
with stream:
    stream.begin_capture()
    for function, said in (lambda: {statement}, "Unsupported"), (stream.end_capture, "Invalidated"):
        try:
            function()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            assert "cudaErrorStreamCapture" + said in str(error)
        else:
            raise SystemExit("not refused")
x += 1
assert x.tolist() == [2, 2, 2]
""")


def test_nothing_changes_while_a_stream_records_and_all_does_at_each_replay():
    snippet("""
import cupy, gc, numpy as np
try:
    cupy.cuda.Stream.null.begin_capture()
except RuntimeError as error:
    assert "default" in str(error)
else:
    raise SystemExit("the default stream cannot be recorded")
x, stream, pool = cupy.zeros(3), cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
with cupy.cuda.using_allocator(pool.malloc), stream:
    stream.begin_capture()
    x += 1
    y = 2 * x
    z = cupy.where(x > 1, y.reshape(3, 1).T.copy(), -y)[0]
    z[0] = cupy.concatenate([x, y]).sum()
    graph = stream.end_capture()
assert x.tolist() == [0, 0, 0]
for i in (1, 2, 3):
    graph.launch()
    assert x.tolist() == [i] * 3 and y.tolist() == [2 * i] * 3
    assert z.tolist() == [9 * i, *[2 * i if i > 1 else -2 * i] * 2]
del pool, y, z
gc.collect()
try:
    graph.launch()
except cupy.cuda.runtime.CUDARuntimeError as error:
    assert "freed" in str(error)
else:
    raise SystemExit("the pool's memory is gone")
""")


def test_a_pool_gives_freed_memory_to_the_next_array():
    snippet("""
import cupy
pool = cupy.cuda.MemoryPool()
with cupy.cuda.using_allocator(pool.malloc):
    x, y = cupy.empty(1000), cupy.empty(100)
    assert pool.total_bytes() == pool.used_bytes() == 8192 + 1024
    at = x.data.ptr
    x = None
    a, b = cupy.empty(500), cupy.empty(400)  # two parts of where x was
    assert (a.data.ptr, b.data.ptr) == (at, at + 4096) and pool.total_bytes() == 8192 + 1024
    view = b[1:]
    b = None
    c = cupy.empty(400)
    assert c.data.ptr not in (at + 4096, view.data.ptr - 8)
    a = view = None
    assert cupy.empty(1000).data.ptr == at  # joined again
""")


# ---- A trainer's steps -----------------------------------------------------------------------------------------

TRAINING = """
import collections, cupy, numpy as np
from minisrgan.device.graph import WARM_UP
from minisrgan.imaging.patches import PhotoSet
from minisrgan.models.discriminator import DiscriminatorConfig
from minisrgan.models.generator import GeneratorConfig
from minisrgan.training.config import Stage, TrainConfig
from minisrgan.training.recorded import steps_of
from minisrgan.training.trainer import Trainer

COUNT = getattr(cupy, "COUNT", collections.Counter())  # the stand-in's

PIXELS = np.random.default_rng(0).integers(256, size=(3, 24, 24, 3), dtype=np.uint8)

def discriminator(**changes):
    return DiscriminatorConfig(channels=2, dense=4, crop=16, **changes)

def train(recorded, **changes):
    '''Of each stage: (what each step measured, what a checkpoint has of arrays, and else; the last counts, problem).'''
    stages = {each: Stage(5, 1e-3, "cosine", 0.9) for each in ("pretrain", "gan")}
    models = dict(generator=GeneratorConfig(channels=4, blocks=1, edge_kernel=3), discriminator=discriminator())
    config = TrainConfig(**models | stages | dict(batch=2, content="pixel") | changes)
    trainer = Trainer(config, PhotoSet([(f"photo {i}", each) for i, each in enumerate(PIXELS)], 4, 16), "cuda")
    found = []
    for stage in stages:
        trainer.start_stage(stage)
        step = steps_of(trainer) if recorded else getattr(trainer, stage + "_step")
        steps = [step() for _ in range(4)]
        before = COUNT.copy()
        steps.append(step())
        counted = COUNT - before
        parts = trainer.generator, trainer.discriminator, trainer.averaged, trainer.adam_g, trainer.adam_d
        found.append((
            [dict(each) for each in steps],
            [{name: array.tobytes() for name, array in part.state().items()} for part in parts],
            (trainer.adam_g.t, trainer.adam_d.t, trainer.step, trainer.shares.state(), trainer.crop_rng.random()),
            counted, step.graph.problem if recorded else None,
        ))
    return found
"""


@pytest.mark.parametrize(
    "changes",
    [
        "dict()",
        "dict(adversarial_share=0.5, d_rate=3e-4, tv_weight=1e-3)",
        "dict(regulariser='spectral-norm', discriminator=discriminator(batch_norm=False, spectral_norm=True))",
        "dict(regulariser='r1', discriminator=discriminator(batch_norm=False), adversarial='relativistic')",
    ],
)
def test_recorded_training_has_the_bits_of_one_that_is_not(changes):
    snippet(f"""{TRAINING}
for plain, (*recorded, counted, problem) in zip(train(False, **{changes}), train(True, **{changes})):
    assert problem is None and counted["graphs"] == 1
    assert recorded == list(plain[:3])
    # D's and G's settings, the average of G's weights, and that the step is over
    assert counted["launches"] <= 4 and counted["elementwise"] == counted["synchronisations"] == 0
    assert counted["to device"] == 2 and plain[3]["launches"] > 50
""")


def test_a_regulariser_that_draws_on_the_host_is_not_recorded():
    snippet(f"""{TRAINING}
changes = dict(regulariser="gradient-penalty", discriminator=discriminator(batch_norm=False))
plain, recorded = train(False, **changes), train(True, **changes)
assert "draws numbers on the host" in recorded[1][4] and recorded[0][4] is None
assert [each[:3] for each in plain] == [each[:3] for each in recorded]
""")


def test_a_rate_that_the_graph_has_in_it_makes_other_bits():
    """As if Adam's settings were part of what is recorded."""
    snippet(f"""{TRAINING}
from minisrgan.optim import Adam
plain, prepare = train(False), Adam.prepare
def once(self, rate):
    if self.t == WARM_UP:
        self.first = rate
    prepare(self, rate if self.t < WARM_UP else self.first)
Adam.prepare = once
assert train(True)[0][1] != plain[0][1]
""")


def test_a_training_that_diverges_goes_back_and_on_as_one_that_is_not_recorded(tmp_path):
    snippet(f"""{TRAINING}
import os
from pathlib import Path
from minisrgan.training import loop
from minisrgan.training.run import Run

class Sick(Trainer):
    def choose_crops(self):
        if (self.stage, self.step, self.rollbacks) == ("gan", 4, 0):
            self.generator.parameters()[0].data[...] = np.nan
        return super().choose_crops()

logs = []
loop.draw_comparison = loop.draw_curves = lambda *_: None
for graph in ("on", "off"):
    os.environ["MINISRGAN_GRAPH"] = graph
    stages = {{each: Stage(6, 1e-3, "cosine", 0.9) for each in ("pretrain", "gan")}}
    models = dict(generator=GeneratorConfig(channels=4, blocks=1, edge_kernel=3), discriminator=discriminator())
    config = TrainConfig(**models | stages | dict(batch=2, content="pixel", on_nan="rollback"))
    run = Run.create(Path({str(tmp_path)!r}, graph), config, stages=list(stages))
    trainer = Sick(config, PhotoSet([(str(i), each) for i, each in enumerate(PIXELS)], 4, 16), "cuda")
    before = COUNT["graphs"]
    loop.train(run, trainer, [PIXELS[0]], list(stages), bar=False)
    assert (COUNT["graphs"] - before > 6) == (graph == "on")
    logs.append([{{name: text for name, text in row.items() if name != "seconds"}} for row in run.rows()])
assert logs[0] == logs[1] and logs[0][-1]["rollbacks"] == "1" and len(logs[0]) == 12
""")


def test_doctor_and_train_say_whether_a_step_is_a_graph(monkeypatch):
    assert "a training step is one" in minisrgan("doctor", "--device", "cuda")
    monkeypatch.setenv("MINISRGAN_GRAPH", "off")
    assert "MINISRGAN_GRAPH=off" in minisrgan("doctor", "--device", "cuda")


@pytest.mark.parametrize("work", ["generator_step", "discriminator_step", "gan_step"])
def test_what_bench_measures_is_a_graph(work):
    snippet(f"""
from cupy import COUNT
from minisrgan.studies import bench
run = bench.{work}(bench.QUICK, "cuda")
before = COUNT.copy()
for _ in range(3):
    run()
counted = COUNT - before
assert counted["graphs"] == 3 and counted["launches"] <= 3 * 4 and not counted["synchronisations"], counted
assert bench.peak("{work}", "cuda", layout=None, threads=1, quick=True) > 0
""")


def test_training_goes_on_with_the_same_bits_if_cuda_refuses_to_record():
    snippet(f"""{TRAINING}
plain, end = train(False), cupy.cuda.Stream.end_capture
def refuse(stream):
    end(stream)
    raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
cupy.cuda.Stream.end_capture = refuse
for before, (*after, counted, problem) in zip(plain, train(True)):
    assert "cudaErrorStreamCaptureInvalidated" in problem and not counted["graphs"]
    assert after == list(before[:3])
""")
