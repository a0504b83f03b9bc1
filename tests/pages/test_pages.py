"""Pages as files: what is escaped, what they hold, how large they are, and what their curves say."""

import io
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from minisrgan.pages import curves, markup
from minisrgan.pages.curves import Chart, Mark, chart, log_ticks, marks_of, thinned, ticks
from minisrgan.pages.markup import Html, digest, element, escaped, page, table
from minisrgan.pages.viewer import Item, before_and_after, encoded, figure, within

EVIL = """<script>alert(1)</script>"'&"""


def test_texts_and_attributes_are_escaped():
    made = element("p", EVIL, title=EVIL, class_="a", data_before=None, hidden=True)
    assert "<script" not in made and made.count("&lt;script&gt;") == 2 and made.count("&quot;") == 2
    assert made.startswith('<p title="') and made.endswith('class="a" hidden>' + escaped(EVIL) + "</p>")
    assert element("td", Html("<b>")) == "<td><b></td>"
    assert escaped("a\udcffb") == "a?b"  # a file's name that is not UTF-8


def test_nothing_of_a_name_becomes_markup(tmp_path, smooth_photo):
    """In the name of a photo, in a label, in what is said below it, and in every part of a table."""
    item = Item(
        EVIL, {f"left {EVIL}": smooth_photo(20, 30), EVIL: smooth_photo(20, 30, seed=1)}, {EVIL: EVIL}, None, EVIL
    )
    before_and_after(tmp_path / "page.html", EVIL, EVIL, [item], [EVIL, EVIL], [[EVIL, EVIL]])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<script>") == 1 and text.count("&lt;script&gt;") > 10
    assert "&quot;alert" not in text.replace(escaped(EVIL), "")


def test_a_page_may_load_nothing_and_run_nothing_but_its_own_script():
    text = page("title", "subtitle", element("section", "x"))
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    (style,), (script,) = (re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("style", "script"))
    assert policy.startswith("default-src &#x27;none&#x27;; img-src data:;")
    assert f"style-src &#x27;{digest(style)}&#x27;" in policy and f"script-src &#x27;{digest(script)}&#x27;" in policy
    without = text.replace("http://www.w3.org/2000/svg", "")  # a name, which nothing is loaded from
    assert not re.search(r"https?:|//\w|src=\"(?!data:)|@import|url\(", without.partition("<body>")[2] + style)


def test_an_image_is_embedded_without_loss(smooth_photo):
    photo = smooth_photo(31, 45)
    with Image.open(io.BytesIO(encoded(photo))) as image:
        np.testing.assert_array_equal(np.asarray(image), photo)
    made = figure("GAN", photo, "the cat", "30 dB")
    assert 'src="data:image/webp;base64,' in made and 'alt="the cat"' in made and 'width="45" height="31"' in made


def test_pictures_beyond_the_budget_are_left_out_and_counted(tmp_path, smooth_photo):
    items = [Item(f"photo {i}", {"a": smooth_photo(64, 64, i), "b": smooth_photo(64, 64, i + 9)}) for i in range(6)]
    each = sum(len(encoded(image)) for image in items[0].images.values())
    kept, left_out = within(items, int(3.5 * each))
    assert len(kept) in (3, 4) and left_out == 6 - len(kept)
    told = before_and_after(tmp_path / "p.html", "t", "s", items, ["photo", "size"], [["x", 1]], budget=int(3.5 * each))
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert told == left_out and f"{left_out} more photos are not on this page" in text
    assert text.count("<img") == 2 * len(kept) and len(text) < 6 * each + 40_000


def test_a_table_names_its_rows():
    made = table(["", "PSNR"], [["GAN", "30.00"]])
    assert '<th scope="row">GAN</th><td>30.00</td>' in made and '<th scope="col">PSNR</th>' in made
    assert markup.number(math.nan) == markup.number(None) == "–" and markup.number(1.005, 1) == "1.0"


# ---- Curves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low, high", [(0, 1), (28.1, 28.5), (-3, 7000), (1e-9, 2e-9), (5, 5.001)])
def test_ticks_are_round_and_within(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 6 and all(low - 1e-12 <= each <= high + 1e-12 for each in found)
    digits = {f"{found[i + 1] - found[i]:.3e}"[0] for i in range(len(found) - 1)}
    assert len(digits) == 1 and digits <= {"1", "2", "5"}


@pytest.mark.parametrize("low, high", [(-7, 2), (0.1, 0.4), (-3.2, -2.9), (-0.05, 0.05)])
def test_logarithmic_ticks_are_within(low, high):
    found = log_ticks(low, high)
    assert 1 <= len(found) <= 7 and all(low <= each <= high for each in found)


def points_of(made):
    """{name: the y of each point as drawn} of a chart."""
    lines = re.findall(r'<polyline class="curve c(\d)" points="(.*?)"', made)
    return {int(n): [float(pair.split(",")[1]) for pair in line.split()] for n, line in lines}


def test_a_chart_draws_what_was_measured():
    data = {"a": [(1, 1.0), (2, 3.0), (3, 2.0)], "b": [(1, math.nan), (2, -1.0)], "none": []}
    made = chart(Chart("title", data, level=("bicubic", 2.5), borders={1.5: "GAN"}))
    a, b = points_of(made).values()
    assert a[1] < a[2] < a[0] and len(b) == 1 and "none" not in made and "bicubic 2.5" in made and ">GAN<" in made
    logarithmic = chart(Chart("title", {"a": [(1, 1.0), (2, 10.0), (3, 100.0)], "b": [(1, 0.0), (2, -5.0)]}, log=True))
    ((low, middle, high),) = points_of(logarithmic).values()
    assert low - middle == pytest.approx(middle - high, abs=0.11)  # equal factors are equally far apart
    assert chart(Chart("nothing", {"a": [(1, math.inf)]})) == ""
    constant = points_of(chart(Chart("same", {"a": [(1, 0.0), (2, 0.0)]})))[0]
    assert constant[0] == constant[1] and 0 < constant[0] < curves.HEIGHT


def test_many_points_become_means_that_say_so():
    data = [(i, float(i % 2)) for i in range(1, 1001)]
    few, each = thinned(data, 300)
    assert each == 4 and len(few) == 250 and few[-1][0] == 1000 and {y for _, y in few} == {0.5}
    assert "means of 4 steps" in chart(Chart("t", {"a": data})) and thinned(data[:300], 300) == (data[:300], 1)


def test_steps_of_one_state_make_one_mark():
    rows = [(step, ["drift"] if 100 <= step <= 150 else []) for step in range(1, 400)]
    rows[300] = (301, ["winning", "drift"])
    found = marks_of(rows, {"drift": "the colours drift"})
    assert found == [Mark(100, 150, "drift", "the colours drift"), Mark(301, 301, "drift", "the colours drift"),
                     Mark(301, 301, "winning", "")]  # fmt: skip
    made = chart(Chart("t", {"a": [(1, 1.0), (399, 2.0)]}, marks=found))
    assert made.count('class="mark"') == 3 and "drift, steps 100 to 150: the colours drift" in made
    data = json.loads(re.search(r'data-chart="(.*?)"', made)[1].replace("&quot;", '"'))
    assert data["marks"][0] == [100, 150, "drift"] and marks_of([], {}) == []
