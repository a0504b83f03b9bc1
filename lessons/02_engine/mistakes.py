from pathlib import Path

from lessons.course.exercises import Mistake

ADDED = "cotangents[source] = cotangents[source] + share if source in cotangents else share"
SOLUTION = Path(__file__).with_name("solution.py").read_text(encoding="utf-8")
WALK = SOLUTION[SOLUTION.index("    missing, cotangents, ready") : SOLUTION.rindex("    # <<<")]

SHARE = f"            share = sum_to(share, source.value.shape)\n            {ADDED}\n"
IN_PLACE = """            if share.shape != source.value.shape:
                share = sum_to(share, source.value.shape)
            if source in cotangents:
                cotangents[source] += share
            else:
                cotangents[source] = share
"""

# each value is visited in the order in which it is met
DISCOVERY = """    cotangents, order = {output: g}, [output]
    for node in order:
        for source, share in zip(node.inputs, node.vjp(cotangents[node]) if node.inputs else ()):
            share = sum_to(share, source.value.shape)
            cotangents[source] = cotangents[source] + share if source in cotangents else share
            if source not in order:
                order.append(source)
    return cotangents
"""

# each share is passed on by itself
PATHS = """    cotangents, to_visit = {}, [(output, g)]
    while to_visit:
        node, part = to_visit.pop()
        cotangents[node] = cotangents[node] + part if node in cotangents else part
        for source, share in zip(node.inputs, node.vjp(part) if node.inputs else ()):
            to_visit.append((source, sum_to(share, source.value.shape)))
    return cotangents
"""

RECURSIVE = """    missing, cotangents = count_uses(output), {output: g}

    def visit(node):
        for source, share in zip(node.inputs, node.vjp(cotangents[node]) if node.inputs else ()):
            share = sum_to(share, source.value.shape)
            cotangents[source] = cotangents[source] + share if source in cotangents else share
            missing[source] -= 1
            if missing[source] == 0:
                visit(source)

    visit(output)
    return cotangents
"""

MISTAKES = [
    Mistake("overwritten", ADDED, "cotangents[source] = share"),
    Mistake("shared array", SHARE, IN_PLACE),
    Mistake("too early", WALK, DISCOVERY),
    Mistake("path by path", WALK, PATHS),
    Mistake("recursion", WALK, RECURSIVE),
    Mistake("more than once", "if missing[source] == 0:", "if missing[source] >= 0:"),
    Mistake(
        "more than once",
        "for source, share in zip(node.inputs, node.vjp(cotangents[node]) if node.inputs else ()):\n",
        "for i, source in enumerate(node.inputs):\n            share = node.vjp(cotangents[node])[i]\n",
    ),
    Mistake("broadcast", "            share = sum_to(share, source.value.shape)\n", ""),
    Mistake("start", "{output: g}, [output]", "{output: np.ones_like(g)}, [output]"),
    Mistake("users counted", "in to_visit.pop().inputs:", "in set(to_visit.pop().inputs):"),
    Mistake("one too many", "uses[source] = 0\n                to_visit", "uses[source] = 1\n                to_visit"),
    Mistake(
        "paths counted",
        "uses[source] = 0\n                to_visit.append(source)",
        "uses[source] = 0\n            to_visit.append(source)",
    ),
    Mistake("constant factor", "g.sum(", "g.mean("),
    Mistake("shape", "keepdims=True).reshape(shape)", "keepdims=True)"),
]
