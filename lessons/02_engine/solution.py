"""A backward walk without a sort: it counts uses. Arrays are NumPy's, float64."""

import numpy as np  # noqa: F401  for you to use, though not every solution needs it


class Node:
    """An array, and how it was computed.

    value    the array
    inputs   the Nodes that it was computed from; the same Node may occur twice
    vjp      vjp(g) takes the node's own cotangent g and returns a tuple with a share for each input.
             Each share has the shape of g. If an input was broadcast, you must still sum its share.
    """

    def __init__(self, value, inputs=(), vjp=None):
        self.value, self.inputs, self.vjp = value, inputs, vjp

    def __add__(x, y):
        return Node(x.value + y.value, (x, y), lambda g: (g, g))

    def __mul__(x, y):
        return Node(x.value * y.value, (x, y), lambda g: (g * y.value, g * x.value))


def sum_to(g, shape):
    """Undo broadcasting: sum g over all repeats, and return an array of shape `shape`.

    Broadcasting took an array of this shape to g's shape. It adds axes at the front, and stretches axes of length 1.
    """
    # >>> Sum over the new axes and over the stretched ones
    new = g.ndim - len(shape)
    stretched = [new + i for i, size in enumerate(shape) if size == 1]
    return g.sum(axis=(*range(new), *stretched), keepdims=True).reshape(shape)
    # <<<


def count_uses(output):
    """dict: for each Node that the output depends on, how often it is used on the way to the output; the output: 0."""
    # >>> Go through the graph once, and count a node each time that it is an input
    uses, to_visit = {output: 0}, [output]
    while to_visit:
        for source in to_visit.pop().inputs:
            if source not in uses:
                uses[source] = 0
                to_visit.append(source)
            uses[source] += 1
    return uses
    # <<<


def backward(output, g):
    """dict: the cotangent of each Node that the output depends on, in the shape of its value. The output's is g."""
    # >>> Start with the output. A node is ready when all of its shares have arrived
    missing, cotangents, ready = count_uses(output), {output: g}, [output]
    while ready:
        node = ready.pop()
        for source, share in zip(node.inputs, node.vjp(cotangents[node]) if node.inputs else ()):
            share = sum_to(share, source.value.shape)
            cotangents[source] = cotangents[source] + share if source in cotangents else share
            missing[source] -= 1
            if missing[source] == 0:
                ready.append(source)
    return cotangents
    # <<<
