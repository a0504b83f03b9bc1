"""First sum_to and count_uses alone, then backward on small graphs whose vjps note each call and its order."""

import numpy as np

from lessons.course.checking import Wrong, check_function, compare
from minisrgan.tensor import Tensor, grad

DEEP = 5000


def check(exercise):
    rng = np.random.default_rng(5)
    check_sum_to(exercise.sum_to, rng)
    check_count_uses(exercise)
    for name, build in GRAPHS.items():
        graph = Graph(exercise.Node, rng)
        check_backward(exercise.backward, graph, graph.finish(build(graph)), name)
    check_depth(exercise)


# ---- sum_to -------------------------------------------------------------------------------------------


def check_sum_to(sum_to, rng):
    shapes = {
        "an axis of length 1": ((3, 4), (3, 1)),
        "a new axis": ((3, 4), (4,)),
        "the bias of an image": ((2, 5, 3, 4), (4,)),
        "both": ((2, 5, 3, 4), (5, 1, 4)),
        "nothing to sum": ((3, 4), (3, 4)),
        "an axis of length 1 in both": ((3, 1, 4), (1, 1, 4)),
        "a single number": ((2, 3), ()),
    }
    cases = {label: (rng.standard_normal(large), small) for label, (large, small) in shapes.items()}
    because = {
        "constant factor": "Did you take a mean instead of a sum?",
        "shape": "keepdims=True keeps the axes that are summed over; reshape can remove the new axes at the front.",
    }
    check_function(sum_to, summed_to, cases, 1e-12, because)


def summed_to(g, shape):
    """sum_to, element by element: which element of the small array was each element of g made from?"""
    source = np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), g.shape)
    return np.bincount(source.ravel(), g.ravel()).reshape(shape)


# ---- Graphs -------------------------------------------------------------------------------------------


class Graph:
    """Nodes that note when their vjps are called; for each node also the Tensor with the same value."""

    def __init__(self, node, rng):
        self.node, self.rng = node, rng
        self.names, self.tensors = {}, {}
        self.makers = {}  # node -> its inputs and its vjp
        self.calls = []  # (node, its cotangent) as they were when the vjp was called
        self.held = []  # (array, its copy, node, its cotangent) for all arrays that vjps got or returned

    def leaf(self, name, *shape):
        values = self.rng.uniform(0.5, 1.5, shape)
        return self.keep(name, self.node(values), Tensor(values, requires_grad=True))

    def add(self, name, x, y):
        return self.make(name, x, y, x.value + y.value, lambda g: (g, g), self.tensors[x] + self.tensors[y])

    def mul(self, name, x, y):
        product = self.tensors[x] * self.tensors[y]
        return self.make(name, x, y, x.value * y.value, lambda g: (g * y.value, g * x.value), product)

    def make(self, name, x, y, value, vjp, tensor):
        def noted(g):
            self.calls.append((made, np.array(g)))
            if np.shape(g) != made.value.shape:
                raise broadcast_diagnosis(name, np.shape(g), made)
            shares = vjp(g)
            self.held += [(each, each.copy(), made, np.array(g)) for each in (g, *shares)]
            return shares

        made = self.node(value, (x, y), noted)
        self.makers[made] = (x, y), vjp
        return self.keep(name, made, tensor)

    def keep(self, name, node, tensor):
        self.names[node], self.tensors[node] = name, tensor
        return node

    def finish(self, output):
        """Keep only the nodes that the output depends on, and list the uses of each: (user, place, vjp)."""
        on_the_way = {output}
        for node in reversed(self.makers):
            if node in on_the_way:
                on_the_way.update(self.makers[node][0])
        self.names = {node: name for node, name in self.names.items() if node in on_the_way}
        self.users = {node: [] for node in self.names}
        for user, (inputs, vjp) in self.makers.items():
            for place, node in enumerate(inputs if user in on_the_way else ()):
                self.users[node].append((user, place, vjp))
        return output

    def wanted(self, output, g):
        """Every node's cotangent, computed by the library's engine."""
        cotangents = grad(self.tensors[output], list(self.tensors.values()), Tensor(g), retain_graph=True)
        return {node: each.data for node, each in zip(self.tensors, cotangents)}


def doubled(graph):
    a = graph.leaf("a", 3)
    b = graph.add("b", a, a)
    return graph.add("c", b, b)


def arms(graph, short_first):
    a = graph.leaf("a", 3)
    b = graph.mul("b", a, a)
    c = graph.mul("c", b, b)
    return graph.add("d", *((b, c) if short_first else (c, b)))


def long_arms(graph):
    a, k = graph.leaf("a", 2), graph.leaf("k", 2)
    b = graph.mul("b", a, k)
    c = graph.mul("c", b, k)
    d = graph.add("d", c, b)
    e = graph.mul("e", d, c)
    return graph.add("f", b, graph.mul("g", e, a))


def shared(graph, r_first):
    """p and q get the same array from r's vjp, and each gets another share before or after."""
    a, k = graph.leaf("a", 4), graph.leaf("k", 4)
    p, q = graph.mul("p", a, k), graph.mul("q", a, a)
    r, s = graph.add("r", p, q), graph.mul("s", p, q)
    return graph.add("t", *((r, s) if r_first else (s, r)))


def biased(graph):
    """An image with a bias and a factor for each channel, and one for each row."""
    x, bias, factor = graph.leaf("x", 2, 5, 3, 4), graph.leaf("bias", 4), graph.leaf("factor", 5, 1, 4)
    return graph.mul("z", graph.add("y", x, bias), graph.add("w", factor, bias))


def tangle(graph):
    """Each node is made from two earlier nodes, chosen at random."""
    nodes = [graph.leaf("x0", 3), graph.leaf("x1", 3)]
    for i in range(2, 20):
        first, second = graph.rng.integers(max(0, i - 5), i, 2)
        nodes.append((graph.add, graph.mul)[i % 2](f"x{i}", nodes[first], nodes[second]))
    return nodes[-1]


GRAPHS = {
    "b = a + a; c = b + b": doubled,
    "b = a * a; c = b * b; d = b + c": lambda graph: arms(graph, True),
    "b = a * a; c = b * b; d = c + b": lambda graph: arms(graph, False),
    "b = a * k; c = b * k; d = c + b; e = d * c; f = b + e * a": long_arms,
    "p = a * k; q = a * a; r = p + q; s = p * q; t = r + s": lambda graph: shared(graph, True),
    "p = a * k; q = a * a; r = p + q; s = p * q; t = s + r": lambda graph: shared(graph, False),
    "y = x + bias; w = factor + bias; z = y * w": biased,
    "twenty nodes, each made from two earlier ones at random": tangle,
}


# ---- count_uses ---------------------------------------------------------------------------------------


def check_count_uses(exercise):
    for name, build in list(GRAPHS.items())[:4]:
        graph = Graph(exercise.Node, np.random.default_rng(6))
        output = graph.finish(build(graph))
        made = exercise.count_uses(output)
        check_dict("count_uses", made, "how often it is used")
        missing = [graph.names[node] for node in graph.names if node not in made]
        if missing:
            raise Wrong("node missing", f"in {name}, count_uses({graph.names[output]}) has no {', '.join(missing)}.")
        for node, label in graph.names.items():
            users = graph.users[node]
            check_count(f"in {name}, {label}", made[node], len(users), len({user for user, *_ in users}))


def check_count(what, made, uses, users):
    if made == uses:
        return
    message = f"{what} is used {times(uses)}, but count_uses says {made}"
    if made == users:
        raise Wrong("users counted", f"{message}: a node that is an input twice, as a is in a + a, is used twice.")
    if made == uses + 1:
        start = "does the count start at 1 instead of 0?" if uses else "the output is not an input."
        raise Wrong("one too many", f"{message}: {start}")
    if made > uses:
        message += ": are the inputs of a node counted again each time that you meet the node?"
        raise Wrong("paths counted", f"{message} Count the inputs of each node only once.")
    raise Wrong("wrong", f"{message}.")


def times(n):
    return {0: "never", 1: "once", 2: "twice"}.get(n, f"{n} times")


# ---- backward -----------------------------------------------------------------------------------------


def check_backward(backward, graph, output, name):
    g = graph.rng.standard_normal(output.value.shape)
    wanted = graph.wanted(output, g)
    try:
        made = backward(output, g.copy())
    except Wrong as wrong:
        raise Wrong(wrong.kind, f"{wrong.message} (In {name}.)") from None
    try:
        check_held(graph, wanted)
        check_calls(graph, wanted)
        check_cotangents(graph, output, made, wanted)
    except Wrong as wrong:
        raise Wrong(wrong.kind, f"in {name}: {wrong.message}") from None


def broadcast_diagnosis(label, shape, node):
    message = f"the cotangent of {label} has shape {shape}, but {label} has shape {node.value.shape}: sum each share "
    return Wrong("broadcast", message + "to the shape of the node that gets it.")


def check_held(graph, wanted):
    for array, copy, node, g in graph.held:
        if not np.array_equal(array, copy) and is_close(g, wanted[node]):  # otherwise the order is wrong
            message = (
                "an array that a vjp got or returned was changed in place, as += does. Another node may hold the same "
            )
            raise Wrong("shared array", message + "array: both inputs of x + y get g itself. Use old + share instead.")


def check_calls(graph, wanted):
    """Was every cotangent passed on only once, and only when it was complete?"""
    for node in dict.fromkeys(node for node, _ in graph.calls):
        asked = [g for each, g in graph.calls if each is node]
        if len(asked) > 1 or not is_close(asked[0], wanted[node]):
            raise call_diagnosis(graph, node, asked, wanted)


def call_diagnosis(graph, node, asked, wanted):
    """What is wrong, if a node's vjp was called with the cotangents `asked`?"""
    label, g, n = graph.names[node], wanted[node], times(len(asked))
    if is_close(asked[0], g):
        message = f"{label}'s vjp is called {n} with the complete cotangent. Call it once: it returns the shares of "
        return Wrong("more than once", message + "all inputs.")
    if not graph.users[node]:
        numbers = f"{g.flat[0]:.4g} in the first element, but the walk begins with {asked[0].flat[0]:.4g}"
        return Wrong("start", f"the output's cotangent is g, here {numbers}.")
    if len(asked) > 1 and is_close(sum(asked), g):
        message = f"{label}'s vjp is called {n}, each time with a part of its cotangent. The result is right, but the "
        return Wrong("path by path", message + "work doubles with every node that is used twice.")
    order = [each for each, _ in graph.calls]
    late = [graph.names[user] for user, *_ in graph.users[node] if user not in order[: order.index(node)]]
    if late:
        message = f"{label} passes its cotangent on before it has all shares: the one from {late[0]} is still missing."
        return Wrong("too early", message)
    if len(asked) > 1:
        return Wrong("too early", f"{label}'s vjp is called {n}, the first time before {label} has all of its shares.")
    return difference(f"the cotangent of {label} when it is passed on", graph, node, asked[0], wanted)


def is_close(made, wanted):
    return np.shape(made) == wanted.shape and np.allclose(made, wanted, rtol=1e-9, atol=1e-12)


def difference(what, graph, node, made, wanted):
    """The diagnosis of a wrong cotangent."""
    users = graph.users[node]
    for user, i, vjp in users:
        share = summed_to(vjp(wanted[user])[i], node.value.shape)
        if len(users) > 1 and is_close(made, share):
            twice = ", which uses it twice" if sum(each is user for each, *_ in users) > 1 else ""
            message = f"{graph.names[node]} is used {times(len(users))}, but its cotangent has the share of only one "
            return Wrong("overwritten", f"{message}use: the one in {graph.names[user]}{twice}. Add up the shares.")
    try:
        compare(what, made, wanted[node], 1e-9)
    except Wrong as wrong:
        return wrong
    return Wrong("wrong", f"{what} is a little off.")


def check_cotangents(graph, output, made, wanted):
    check_dict("backward", made, "its cotangent")
    for node, label in graph.names.items():
        if made.get(node) is None:
            asked = {each for each, _ in graph.calls}
            waiting = [graph.names[user] for user, *_ in graph.users[node] if user not in asked]
            why = f" The vjp of {waiting[0]}, which uses it, was never called: is it never ready?" if waiting else ""
            raise Wrong("gradient missing", f"there is no cotangent for {label}.{why}")
        if np.shape(made[node]) != node.value.shape:
            raise broadcast_diagnosis(label, np.shape(made[node]), node)
        if not is_close(made[node], wanted[node]):
            raise difference(f"the cotangent of {label}", graph, node, np.asarray(made[node]), wanted)


def check_dict(name, made, of):
    if made is None:
        raise Wrong("type", f"{name} returns None: is a `return` missing?")
    if not isinstance(made, dict):
        raise Wrong("type", f"{name} returns a {type(made).__name__} instead of a dict: for each Node, {of}.")


def check_depth(exercise):
    node = leaf = exercise.Node(np.ones(1))
    for _ in range(DEEP):
        node = exercise.Node(node.value, (node,), lambda g: (g,))
    for function, arguments in ((exercise.count_uses, (node,)), (exercise.backward, (node, np.ones(1)))):
        try:
            made = function(*arguments)
        except RecursionError:
            message = f"{function.__name__} calls itself, and Python stops at a depth of about 1,000 calls. This chain "
            raise Wrong("recursion", f"{message}has {DEEP:,} operations: keep a list of nodes to visit.") from None
    compare(f"the cotangent at the end of a chain of {DEEP:,} operations", made[leaf], np.ones(1))
