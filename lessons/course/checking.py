"""Diagnoses a wrong answer. A check that only says "wrong" teaches nothing, so these look for the nearest mistake.

A lesson's check.py calls these functions for the learner's functions. Each returns nothing if all is right, and raises
Wrong with a diagnosis if not.
"""

import inspect
import itertools
import math

import numpy as np

from minisrgan.tensor import Tensor


class Wrong(Exception):
    """A diagnosis: `kind` names the mistake in a word or two; `message` says what is wrong and where to look."""

    def __init__(self, kind, message):
        super().__init__(f"{kind}: {message}")
        self.kind, self.message = kind, message


def check_function(function, reference, cases, tolerance=1e-6, because={}):  # noqa: B006  never written to
    """Compare a learner's function with a reference on every case.

    cases      {label: tuple of arguments}. A label that begins with "odd" marks odd sizes
    tolerance  relative to the largest element of the right result
    because    {kind: a sentence to add to the message of a diagnosis of this kind}
    """
    found, right = {}, []
    for label, arguments in cases.items():
        try:
            check_case(function, reference, arguments, tolerance, because)
            right.append(label)
        except Wrong as wrong:
            found[label] = wrong
        except Exception:
            if not found:
                raise
            break  # the first mistake explains more than an exception that follows from it
    if not found:
        return
    label, first = next(iter(found.items()))
    if right and all(each.startswith("odd") for each in found) and not any(each.startswith("odd") for each in right):
        message = f"right for {listed(right)}, but not for {label}: {first.message}"
        raise diagnosis("odd sizes", message, because)
    raise Wrong(first.kind, f"{first.message} (Case: {label}.)" if len(cases) > 1 else first.message)


def check_case(function, reference, arguments, tolerance, because):
    wanted = reference(*copies(arguments))
    what = call_text(function, arguments)
    given, again = copies(arguments), copies(arguments)
    try:
        result = function(*given)
        second = function(*again)
    except Exception as error:
        error.add_note(f"in {what}")
        raise
    for before, after in zip(arguments, given):
        if isinstance(before, np.ndarray) and not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            raise diagnosis("input changed", f"{what} changes its argument: make a new array.", because)
    compare(what, result, wanted, tolerance, because)
    try:
        compare(what, second, result, 0, {})
    except Wrong:
        raise Wrong("not repeatable", f"{what} gives another result when it is called again.") from None


def compare_gradients(result, wanted, tolerance=1e-6, because={}):  # noqa: B006
    """Compare dicts of gradients by name. Also finds missing gradients, and two that were exchanged."""
    for name in wanted:
        if result.get(name) is None:
            raise diagnosis("gradient missing", f"there is no gradient for {name}.", because)
    for one, other in itertools.combinations(wanted, 2):
        exchanged = is_close(result[one], wanted[other], tolerance) and is_close(result[other], wanted[one], tolerance)
        if exchanged and not is_close(wanted[one], wanted[other], tolerance):
            raise diagnosis("swapped", f"the gradients for {one} and {other} are exchanged.", because)
    for name in wanted:
        compare(f"the gradient for {name}", result[name], wanted[name], tolerance, because)


def compare(what, result, wanted, tolerance=1e-6, because={}):  # noqa: B006
    """Raise Wrong with the nearest diagnosis unless `result` is `wanted`: a number, an array, a Tensor or a tuple."""
    if isinstance(wanted, tuple | list):
        return compare_tuples(what, result, wanted, tolerance, because)
    try:
        find_difference(what, result, wanted, tolerance)
    except Wrong as wrong:
        raise diagnosis(wrong.kind, wrong.message, because) from None


def diagnosis(kind, message, because):
    return Wrong(kind, f"{message} {because[kind]}" if kind in because else message)


def compare_tuples(what, result, wanted, tolerance, because):
    if not isinstance(result, tuple | list):
        raise diagnosis("type", f"{what} is {described(result)} instead of {len(wanted)} results.", because)
    if len(result) != len(wanted):
        raise diagnosis("type", f"{what} has {len(result)} results instead of {len(wanted)}.", because)
    if len(wanted) == 1:
        return compare(what, result[0], wanted[0], tolerance, because)
    exchanged = (
        len(wanted) == 2 and is_close(result[0], wanted[1], tolerance) and is_close(result[1], wanted[0], tolerance)
    )
    if exchanged and not is_close(wanted[0], wanted[1], tolerance):
        raise diagnosis("swapped", f"the two results of {what} are exchanged.", because)
    for i, (one, other) in enumerate(zip(result, wanted)):
        compare(f"{what}[{i}]", one, other, tolerance, because)


# ---- The search for the nearest mistake ---------------------------------------------------------------


def find_difference(what, result, wanted, tolerance):
    result, wanted = as_array(what, result, wanted)
    if result.shape != wanted.shape:
        raise shape_diagnosis(what, result, wanted, tolerance)
    if result.dtype != wanted.dtype and wanted.ndim:
        raise Wrong("dtype", f"{what} has the dtype {result.dtype} instead of {wanted.dtype}.")
    if count := int(np.sum(np.isfinite(wanted) & ~np.isfinite(result))):
        which = f"{count} of {result.size} elements are" if result.size > 1 else "it is"
        raise Wrong("not finite", f"{what}: {which} NaN or infinite.")
    if is_close(result, wanted, tolerance):
        return
    for find in (find_scale, find_offset, find_permutation, find_border, find_shift, find_elements):
        if found := find(what, result, wanted, tolerance):
            raise found
    raise Wrong("wrong", f"{what}: {worst(result, wanted)}.")


def as_array(what, result, wanted):
    """(result, wanted) as arrays. Raises Wrong if the learner returned something else."""
    if result is None:
        raise Wrong("type", f"{what} is None: is a `return` missing?")
    if isinstance(wanted, Tensor):
        if not isinstance(result, Tensor):
            raise Wrong("type", f"{what} is {described(result)} instead of a Tensor.")
        result, wanted = result.data, wanted.data
    elif isinstance(result, Tensor):
        advice = "an array: return its .data" if np.ndim(wanted) else "a number: return its .item()"
        raise Wrong("type", f"{what} is a Tensor instead of {advice}.")
    wanted = np.asarray(wanted)
    try:
        array = np.asarray(result)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise Wrong("type", f"{what} is {described(result)} instead of {described(wanted)}.")
    if isinstance(result, tuple | list):
        raise Wrong("type", f"{what} is {described(result)} instead of {described(wanted)}.")
    return array, wanted


def shape_diagnosis(what, result, wanted, tolerance):
    shapes = f"{what} has the shape {result.shape} instead of {wanted.shape}"
    for axes in permutations(result.ndim):
        if is_close(result.transpose(axes), wanted, tolerance):
            return Wrong("transpose", f"{shapes}: its axes are the right ones in the order {inverse(axes)}.")
    squeezed = tuple(size for size in result.shape if size != 1), tuple(size for size in wanted.shape if size != 1)
    if squeezed[0] == squeezed[1]:
        how = "missing" if result.ndim < wanted.ndim else "extra or misplaced"
        return Wrong("shape", f"{shapes}: an axis of length 1 is {how}.")
    if not result.ndim:
        return Wrong("shape", f"{shapes}. It is a single number: something was summed or averaged that should be kept.")
    if not wanted.ndim:
        return Wrong("shape", f"{shapes}. The result is a single number: something still has to be summed or averaged.")
    return Wrong("shape", f"{shapes}.")


def find_scale(what, result, wanted, tolerance):
    """Is it the right array times a number?"""
    if not np.any(result):
        return Wrong("wrong", f"{what} is zero everywhere.")
    if is_close(-result, wanted, tolerance):
        return Wrong("sign", f"{what} has the wrong sign.")
    norm = float(np.sum(np.square(wanted, dtype=float)))
    if not norm or not np.all(np.isfinite(wanted)):
        return None
    factor = float(np.sum(np.multiply(result, wanted, dtype=float))) / norm
    if not factor or not is_close(result / factor, wanted, max(tolerance, 1e-9)):
        return None
    name = factor_name(factor, wanted.shape, tolerance)
    if wanted.size == 1 and name is None:  # every number is some multiple of another
        return None
    return Wrong("constant factor", f"{what} is {name or f'{factor:.6g}'} times what it should be.")


def factor_name(factor, shape, tolerance):
    """`2`, `1/2`, `1/12 (12: the number of elements)`; None for a number without such a name."""
    groups = [axes for n in range(len(shape), 0, -1) for axes in itertools.combinations(range(len(shape)), n)]
    sizes = {math.prod(shape[axis] for axis in axes): axes for axes in groups}  # the fewest axes give the name
    for number in [*range(2, 17), *sorted(sizes)]:
        meaning = ""
        if number in sizes and number > 2:
            whole = number == math.prod(shape)
            meaning = f" ({number}: the number of elements{'' if whole else f' along {axes_text(sizes[number])}'})"
        for value, text in [(number, f"{number}"), (1 / number, f"1/{number}")]:
            if abs(abs(factor) - value) <= max(tolerance, 1e-6) * value:
                return ("-" if factor < 0 else "") + text + meaning
    return None


def find_offset(what, result, wanted, tolerance):
    """Was the same number added to every element?"""
    if wanted.size == 1:
        return None
    offset = float(np.mean(np.subtract(result, wanted, dtype=float)))
    if not is_close(result - offset, wanted, max(tolerance, 1e-9)):
        return None
    return Wrong("offset", f"{what} has {offset:.6g} added to every element.")


def find_permutation(what, result, wanted, tolerance):
    """Are the right elements in other places?"""
    for axes in permutations(result.ndim):
        if result.transpose(axes).shape == wanted.shape and is_close(result.transpose(axes), wanted, tolerance):
            return Wrong("transpose", f"{what} has its axes in the order {inverse(axes)}.")
    for n in range(1, result.ndim + 1):
        for axes in itertools.combinations(range(result.ndim), n):
            if is_close(np.flip(result, axes), wanted, tolerance):
                return Wrong("flip", f"{what} is reversed along {axes_text(axes)}.")
    if result.ndim > 1 and 1 < result.shape[-1] <= 64:
        order = [
            next((j for j in range(result.shape[-1]) if is_close(result[..., j], wanted[..., i], tolerance)), None)
            for i in range(wanted.shape[-1])
        ]
        if None not in order:
            return Wrong("channels", f"{what} has the right channels in the wrong order: {np.argsort(order).tolist()}.")
    return None


def find_border(what, result, wanted, tolerance):
    """Is only a margin wrong?"""
    if result.ndim not in SPATIAL:
        return None
    wrong = np.moveaxis(where_wrong(result, wanted, tolerance), SPATIAL[result.ndim], (0, 1))
    wrong = wrong.reshape(*wrong.shape[:2], -1).any(axis=-1)
    for margin in range(1, (min(wrong.shape) + 1) // 2):
        if not wrong[margin:-margin, margin:-margin].any():
            rows = "row and column" if margin == 1 else f"{margin} rows and columns"
            where = f"right inside, but wrong in the outermost {rows}"
            return Wrong("border", f"{what} is {where}: {worst(result, wanted)}.")
    return None


def find_shift(what, result, wanted, tolerance):
    """Is it shifted by one pixel?"""
    for axis in SPATIAL.get(result.ndim, ()):
        ahead, behind = [slice(None)] * result.ndim, [slice(None)] * result.ndim
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        for one, other, where in [(ahead, behind, "later"), (behind, ahead, "earlier")]:
            if result.shape[axis] > 2 and is_close(result[tuple(one)], wanted[tuple(other)], tolerance):
                return Wrong("shift", f"{what} is shifted: it is one element {where} along {axes_text((axis,))}.")
    return None


def find_elements(what, result, wanted, tolerance):
    """Are only some elements wrong?"""
    wrong = where_wrong(result, wanted, tolerance)
    if wrong.mean() >= 0.5:
        return None
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    message = f"{what}: {wrong.sum()} of {wrong.size} elements are wrong, the first at {list(index)}: "
    return Wrong("some elements", f"{message}{result[index]:.6g} instead of {wanted[index]:.6g}.")


SPATIAL = {4: (1, 2), 3: (0, 1), 2: (0, 1)}  # rows and columns, by the number of axes


def where_wrong(result, wanted, tolerance):
    off = np.abs(np.subtract(result, wanted, dtype=float)) > tolerance * largest(wanted)
    return off | (np.isfinite(wanted) & ~np.isfinite(result))


def is_close(result, wanted, tolerance):
    result, wanted = np.asarray(result), np.asarray(wanted)
    if result.shape != wanted.shape or result.dtype.kind not in "biuf":
        return False
    return bool(np.allclose(result, wanted, rtol=0, atol=tolerance * largest(wanted), equal_nan=True))


def largest(array):
    """The size to which errors are relative: the largest finite element, or 1 for an array of zeros."""
    finite = np.abs(array[np.isfinite(array)], dtype=float)
    return float(finite.max(initial=0)) or 1.0


def permutations(ndim):
    """All orders of the axes but the present one; none if there are so many axes that it would take long."""
    return list(itertools.permutations(range(ndim)))[1:] if ndim <= 5 else []


def inverse(axes):
    return tuple(int(i) for i in np.argsort(axes))


def axes_text(axes):
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {listed(axes)}"


def listed(words):
    """`a`, `a and b`, `a, b and c`."""
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last


def worst(result, wanted):
    """The element with the largest error, in words."""
    index = np.unravel_index(np.argmax(np.abs(np.subtract(result, wanted, dtype=float))), result.shape)
    where = f" at {[int(i) for i in index]}" if result.ndim else ""
    return f"{result[index]:.6g} instead of {wanted[index]:.6g}{where}"


# ---- Words --------------------------------------------------------------------------------------------


def copies(arguments):
    return [each.copy() if isinstance(each, np.ndarray) else each for each in arguments]


def call_text(function, arguments):
    """`shuffle(x, 2) with x of shape (1, 4, 6, 8)`: a call as the learner would write it."""
    names = list(inspect.signature(function).parameters)
    texts, shapes = [], []
    for i, value in enumerate(arguments):
        name = names[i] if i < len(names) else f"argument {i}"
        if isinstance(value, np.ndarray | Tensor):
            texts.append(name)
            shapes.append(f"{name} of shape {value.shape}")
        else:
            texts.append(getattr(value, "__name__", None) or repr(value))
    where = f" with {', '.join(shapes)}" if shapes else ""
    return f"{function.__name__}({', '.join(texts)}){where}"


def described(value):
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}" if value.ndim else "a number"
    return {tuple: "a tuple", list: "a list", Tensor: "a Tensor", float: "a number", int: "a number"}.get(
        type(value), f"of type {type(value).__name__}"
    )
