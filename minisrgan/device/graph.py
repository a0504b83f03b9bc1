"""A step of the training as one CUDA graph: recorded once, then started as a whole.

A GAN step is hundreds of kernels, and Python has to start each of them. A graph has them all, with their arguments. It
is recorded (CUDA says captured) while Python goes through a step as always. From then on Python only copies the inputs
into place and starts the graph.

So all that changes from step to step must be read from memory that stays where it is: the inputs, the weights, and
Adam's state and settings. A number that Python computes is in the graph as it was when it was recorded. The arrays
that the step makes on its way lie in a memory pool of the graph's own, the arena, from which nobody else gets memory.
So each stays at its address, and those that are not needed at the same time share one.
"""

import gc
import logging
import os
import sys
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ..in_place import mark_changed

WARM_UP = 2  # steps before a step is recorded: they compile the kernels, and fill what is kept for later steps
VARIABLE = "MINISRGAN_GRAPH"

log = logging.getLogger(__name__)
graphs: "weakref.WeakSet[StepGraph]" = weakref.WeakSet()  # all that there are


def graph_problem() -> str | None:
    """Why steps on a GPU cannot be graphs, in a few words; None if they can. MINISRGAN_GRAPH=off is for debugging."""
    import cupy

    if os.environ.get(VARIABLE) == "off":
        return f"{VARIABLE}=off"
    return None if hasattr(cupy.cuda.Stream, "begin_capture") else f"CuPy {cupy.__version__} cannot record a stream"


@contextmanager
def no_garbage_collection() -> Generator[None, None, None]:
    """Within the block nothing is removed that happens to be found: that could be memory of the GPU, or a graph."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class StepGraph:
    """A function of arrays on a GPU, recorded after WARM_UP calls, and replayed from then on.

    work     what a step does on the device. It takes arrays, returns arrays (or what holds them), and changes the
             state in place. It does nothing else that a replay would have to do
    state    (object, attribute) of each array of the state, such as the weights

    problem  why it is not a graph, in a few words; None if it is one, or is going to be
    arena    the bytes of the graph's arena; 0 before it is recorded
    """

    def __init__(self, work: Callable[..., Any], state: Iterable[tuple[Any, str]], problem: str | None = None) -> None:
        self.work, self.state = work, list(state)
        self.problem = problem or graph_problem()
        self.graph = None
        self.forget()
        graphs.add(self)

    def __str__(self) -> str:
        """Whether a step is one graph, in a few words."""
        if self.problem:
            return f"no CUDA graph: {self.problem}"
        arena = f", with {self.arena / 2**20:,.0f} MiB for its arrays" if self.graph else ""
        return f"one CUDA graph a step, from step {WARM_UP + 1} on{arena}"

    def forget(self) -> None:
        """Begin anew, with WARM_UP steps that are not recorded."""
        self.wait()
        self.calls, self.graph, self.pool, self.arena = 0, None, None, 0
        self.sizes, self.arrays, self.result = [], [], None

    def wait(self) -> None:
        """Until the GPU is done with the graph, or it would be removed under its hands."""
        if self.graph and not sys.is_finalizing():
            import cupy

            cupy.cuda.get_current_stream().synchronize()

    __del__ = wait

    def __call__(self, *inputs: np.ndarray) -> Any:
        """What `work` returns for these inputs, NumPy arrays. The next call writes the next results over it."""
        import cupy

        if self.sizes and not self.fits(inputs):
            self.forget()
        if self.graph is None and not self.problem and self.calls == WARM_UP:
            self.record(inputs)
        self.calls += 1
        if self.graph is None:
            return self.work(*map(cupy.asarray, inputs))
        buffers, copied = self.buffers[self.calls % 2]
        copied.synchronize()  # the copy of the step before the last, which is long done
        for array, buffer, here in zip(inputs, buffers, self.inputs):
            buffer[...] = array
            here.set(buffer)  # which does not wait
        copied.record()
        self.graph.launch()
        for array in self.arrays:
            mark_changed(array, "a step that was replayed")
        return self.result

    def fits(self, inputs: tuple[np.ndarray, ...]) -> bool:
        """Whether the graph is still right: inputs of the same sizes, and a state in the same memory."""
        return [(each.shape, each.dtype) for each in inputs] == self.sizes and all(
            getattr(*slot) is array for slot, array in zip(self.state, self.arrays)
        )

    def record(self, inputs: tuple[np.ndarray, ...]) -> None:
        """Record the graph. If that cannot be, say why, and leave all as it was."""
        import cupy

        def pinned(like):
            return np.ndarray(like.shape, like.dtype, cupy.cuda.alloc_pinned_memory(like.nbytes))

        gc.collect()  # an older graph, perhaps, with its arena
        cupy.get_default_memory_pool().free_all_blocks()  # what the steps so far have left
        self.sizes = [(each.shape, each.dtype) for each in inputs]
        self.arrays = [getattr(*slot) for slot in self.state]
        self.inputs = [cupy.empty(each.shape, each.dtype) for each in inputs]
        self.buffers = [([pinned(each) for each in inputs], cupy.cuda.Event(disable_timing=True)) for _ in range(2)]
        self.pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
        try:
            with no_garbage_collection(), cupy.cuda.using_allocator(self.pool.malloc), stream:
                stream.begin_capture()
                try:
                    self.result = self.work(*self.inputs)
                except Exception:
                    with suppress(Exception):  # the first error says more
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
            for slot, array in zip(self.state, self.arrays):
                if getattr(*slot) is not array:
                    raise RuntimeError(f"it puts a new array in the place of {slot[1]}")
        except Exception as error:  # of CUDA, or of the step, which then raises it again
            for slot, array in zip(self.state, self.arrays):
                setattr(*slot, array)
            self.forget()
            self.problem = f"a step cannot be recorded ({str(error).strip().splitlines()[0]})"
            log.warning("%s", self)
        else:
            self.graph, self.arena = graph, self.pool.total_bytes()
