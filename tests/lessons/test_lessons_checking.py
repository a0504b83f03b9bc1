"""Does a check name the right mistake?"""

import numpy as np
import pytest

from lessons.course.checking import Wrong, check_function, compare, compare_gradients
from minisrgan.tensor import Tensor

WANTED = np.random.default_rng(0).standard_normal((2, 5, 6, 3))


def kind_of(made, wanted=WANTED, **options):
    with pytest.raises(Wrong) as found:
        compare("f(x)", made, wanted, **options)
    return found.value.kind, found.value.message


@pytest.mark.parametrize(
    "right",
    [WANTED, WANTED + 1e-9, 3.0, (WANTED, 2), Tensor(WANTED), np.array([1.0, np.inf]), np.zeros((0, 3)), np.zeros(4)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_right_passes(right):
    compare("f(x)", right, right)


def test_rounding_passes_and_more_does_not():
    compare("f(x)", WANTED * (1 + 1e-8), WANTED)
    assert kind_of(WANTED * (1 + 1e-5))[0] == "constant factor"


def test_integers_and_booleans_are_numbers():
    compare("f(x)", 3, 3.0)
    compare("f(x)", np.array([True, False]), np.array([True, False]))


@pytest.mark.parametrize(
    ("made", "kind", "said"),
    [
        (None, "type", "return"),
        ("text", "type", "str"),
        (WANTED.tolist(), "type", "list"),
        (Tensor(WANTED), "type", ".data"),
        ((WANTED, WANTED), "type", "tuple"),
        (WANTED.astype(np.float32), "dtype", "float32"),
        (np.where(WANTED > 2, np.nan, WANTED), "not finite", "of 180"),
        (-WANTED, "sign", "wrong sign"),
        (2 * WANTED, "constant factor", "is 2 times"),
        (-WANTED / 2, "constant factor", "is -1/2 times"),
        (WANTED * 180, "constant factor", "180: the number of elements"),
        (WANTED / 30, "constant factor", "1/30 (30: the number of elements along axes 1 and 2) times"),
        (WANTED * 1.2345, "constant factor", "1.2345 times"),
        (WANTED + 0.5, "offset", "0.5 added"),
        (0 * WANTED, "wrong", "zero everywhere"),
        (WANTED[0], "shape", "(5, 6, 3)"),
        (WANTED[..., None], "shape", "length 1"),
        (WANTED.sum(), "shape", "a single number"),
        (WANTED.transpose(0, 2, 1, 3), "transpose", "(0, 2, 1, 3)"),
        (WANTED.transpose(0, 3, 1, 2), "transpose", "(0, 3, 1, 2)"),
        (WANTED[:, ::-1], "flip", "axis 1"),
        (WANTED[:, ::-1, ::-1], "flip", "axes 1 and 2"),
        (WANTED[..., [1, 2, 0]], "channels", "[1, 2, 0]"),
        (np.sin(WANTED), "wrong", "instead of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_nearest_mistake_is_named(made, kind, said):
    found, message = kind_of(made)
    assert found == kind and said in message and message.startswith("f(x)")


def test_axes_of_the_same_length_are_told_apart():
    square = np.random.default_rng(1).standard_normal((4, 4))
    assert kind_of(square.T, square)[0] == "transpose"
    cube = np.random.default_rng(1).standard_normal((4, 4, 4))
    assert "(1, 2, 0)" in kind_of(cube.transpose(1, 2, 0), cube)[1]


@pytest.mark.parametrize("margin", [1, 2])
def test_a_wrong_border_is_found(margin):
    wanted = np.random.default_rng(1).standard_normal((2, 7, 8, 3))
    made = np.zeros_like(wanted)
    made[:, margin:-margin, margin:-margin] = wanted[:, margin:-margin, margin:-margin]
    kind, message = kind_of(made, wanted)
    assert kind == "border" and ("row and column" if margin == 1 else "2 rows and columns") in message


def test_a_shift_is_found():
    wide = np.random.default_rng(1).standard_normal((2, 5, 7, 3))
    assert kind_of(wide[:, :, :-1], wide[:, :, 1:])[0] == "shift"


def test_a_few_wrong_elements_are_counted():
    made = WANTED.copy()
    made[1, 2, 3, 0] += 1
    made[1, 2, 3, 2] += 2
    kind, message = kind_of(made)
    assert kind == "some elements" and "2 of 180" in message and "[1, 2, 3, 0]" in message


def test_numbers():
    assert kind_of(2.0, 1.0) == ("constant factor", "f(x) is 2 times what it should be.")
    assert kind_of(1.2345, 1.0)[0] == "wrong"
    assert kind_of(np.float64(-1), 1.0)[0] == "sign"
    assert kind_of(np.ones(3), 1.0)[0] == "shape"
    assert kind_of(1.0, np.ones(3))[0] == "shape"
    assert ".item()" in kind_of(Tensor(np.ones(())), 1.0)[1]


def test_a_reason_is_added():
    assert kind_of(-WANTED, because={"sign": "Which way?"})[1].endswith("Which way?")
    assert kind_of(3.0, WANTED, because={"shape": "All of it."})[1].endswith("All of it.")


def test_tuples():
    assert kind_of((WANTED, 2.0), (2.0, WANTED))[0] == "swapped"
    assert kind_of((WANTED,), (2.0, WANTED)) == ("type", "f(x) has 1 results instead of 2.")
    assert kind_of(WANTED, (2.0, WANTED))[0] == "type"
    kind, message = kind_of((2.0, -WANTED), (2.0, WANTED))
    assert kind == "sign" and message.startswith("f(x)[1]")


def test_gradients():
    wanted = {"x": WANTED, "w": WANTED + 1, "b": np.ones(3)}
    compare_gradients(dict(wanted), wanted)
    for made, kind in [
        (wanted | {"w": None}, "gradient missing"),
        ({"x": WANTED}, "gradient missing"),
        (wanted | {"x": wanted["w"], "w": wanted["x"]}, "swapped"),
        (wanted | {"b": -wanted["b"]}, "sign"),
    ]:
        with pytest.raises(Wrong) as found:
            compare_gradients(made, wanted)
        assert found.value.kind == kind


# ---- Functions, case by case --------------------------------------------------------------------------

CASES = {"4×6": (np.arange(24.0).reshape(4, 6),), "odd, 3×5": (np.arange(15.0).reshape(3, 5) ** 2,)}


def halves(x):
    return x[: len(x) - len(x) // 2].sum(axis=0)


def kind_of_function(function, cases=CASES):
    with pytest.raises(Wrong) as found:
        check_function(function, halves, cases)
    return found.value.kind, found.value.message


def test_a_right_function_passes():
    check_function(lambda x: x[: (len(x) + 1) // 2].sum(0), halves, CASES)


def test_odd_sizes_are_named():
    kind, message = kind_of_function(lambda x: x[: len(x) // 2].sum(0))
    assert kind == "odd sizes" and message.startswith("right for 4×6, but not for odd, 3×5")


def test_the_case_is_named():
    def f(x):
        return -halves(x)

    kind, message = kind_of_function(f)
    assert kind == "sign" and message == "f(x) with x of shape (4, 6) has the wrong sign. (Case: 4×6.)"


def test_a_changed_input_is_found():
    def f(x):
        made = halves(x)
        x += 1
        return made

    assert kind_of_function(f)[0] == "input changed"


def test_a_function_that_remembers_is_found():
    calls = []

    def f(x):
        calls.append(x)
        return halves(x) + (len(calls) % 2 == 0)

    assert kind_of_function(f)[0] == "not repeatable"


def test_an_error_says_in_which_call():
    def f(x):
        raise ValueError("no")

    with pytest.raises(ValueError) as found:
        check_function(f, halves, CASES)
    assert found.value.__notes__ == ["in f(x) with x of shape (4, 6)"]


def test_an_error_in_a_later_case_does_not_hide_what_was_wrong_before():
    def f(x):
        return -halves(x) if x.shape == (4, 6) else 1 / 0

    assert kind_of_function(f)[0] == "sign"
