"""Pages in headless Chromium, by what they do: what shows when the line is moved, by pointer, key and finger."""

import numpy as np
import pytest
from browser import Page, chromium, pixels_of

from minisrgan.pages.curves import Chart, Mark, charts
from minisrgan.pages.markup import section, table, write_page
from minisrgan.pages.viewer import Item, over_time, viewer

RED, BLUE, GREEN = (200, 20, 20), (20, 20, 200), (20, 150, 20)
SIZE = 120, 160  # of the photos, height and width
EVIL = "<script>alert(1)</script> & \"'.png"


def flat(colour):
    return np.full((*SIZE, 3), colour, np.uint8)


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page with all that pages have: two photos of flat colours, so that pixels can be counted."""
    spot = flat(GREEN)
    spot[40:60, 100:120] = 255  # where the detail begins
    items = [
        Item("first", {"red": flat(RED), "blue": flat(BLUE), "spot": spot}, {"red": "30.00 dB"}, (30, 90)),
        Item(EVIL, {"red": flat(BLUE), "blue": flat(RED), "spot": spot}, {}, None, "a note"),
        Item("large" * 40, {name: np.full((700, 900, 3), 90, np.uint8) for name in ("red", "blue", "spot")}),
    ]
    frames = [(f"step {i}", np.full((24, 24, 3), 60 * i, np.uint8), f"{i} dB") for i in range(4)]
    drawn = Chart("PSNR", {"a": [(i, i / 10) for i in range(11)]}, marks=[Mark(4, 6, "drift", "the colours drift")])
    file = tmp_path_factory.mktemp("pages") / "page.html"
    wide = table(["a long name of a column"] * 12, [["a-very-long-value-" * 3] * 12])
    write_page(
        file, EVIL * 4, "subtitle", section("photos", viewer(items, "red", "blue")),
        section("time", over_time(frames, {"bicubic": frames[0][1], "HR": frames[3][1]})),
        section("curves", charts([drawn, drawn._replace(title="another")])), section("table", wide),
    )  # fmt: skip
    return file


@pytest.fixture
def opened(browser, path):
    """Opens the page; at the end nothing was said on the console, and nothing loaded."""
    pages = []

    def open_page(**options):
        pages.append(Page(browser, path, **options))
        return pages[-1]

    yield open_page
    for each in pages:
        assert each.said == [] and each.loads_nothing()
        each.context.close()


def share(pixels, colour):
    return (abs(pixels - colour) < 30).all(axis=2).mean()


def shares(page):
    """How much of the stage is red, and how much blue."""
    pixels = page.shown()
    return share(pixels, RED), share(pixels, BLUE)


def test_the_line_divides_the_photo_where_the_pointer_is(opened):
    opened = opened()
    red, blue = shares(opened)
    assert red == pytest.approx(0.5, abs=0.1) and blue == pytest.approx(0.5, abs=0.1)
    box = opened.page.locator(".stage").bounding_box()
    y = box["y"] + 0.8 * box["height"]
    opened.page.mouse.move(box["x"] + box["width"] / 2, y)
    opened.page.mouse.down()
    for part in (0.4, 0.25):
        opened.page.mouse.move(box["x"] + part * box["width"], y)
    pixels = opened.shown()
    line = pixels[int(0.8 * len(pixels))]
    where = np.flatnonzero((abs(line - BLUE) < 30).all(axis=1))[0] / len(line)
    assert where == pytest.approx(0.25, abs=0.02)
    opened.page.mouse.up()
    opened.page.mouse.move(box["x"] + 0.9 * box["width"], y)  # the button is up: the line stays
    assert shares(opened)[1] == pytest.approx(0.75, abs=0.1)


@pytest.mark.parametrize("photo", [0, 1])  # beside the frame, and below it
def test_the_handle_moves_the_line_and_not_the_frame(opened, photo):
    opened = opened()
    opened.page.locator(".photos button").nth(photo).click()
    box, frame = (opened.page.locator(each).bounding_box() for each in (".stage", ".frame"))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.page.mouse.move(x + 5, y - 5)  # on the handle, beside the line
    opened.page.mouse.down()
    opened.page.mouse.move(x + 0.25 * box["width"], y)
    opened.page.mouse.up()
    assert float(opened.page.locator(".stage input").input_value()) == pytest.approx(75, abs=1)
    assert opened.page.locator(".frame").bounding_box() == frame


def test_keys_move_the_line(opened):
    opened = opened()
    line = opened.page.locator(".stage input")
    line.focus()
    opened.page.keyboard.press("Home")
    assert shares(opened)[0] < 0.05 and line.get_attribute("aria-valuetext") == "0 % red, then blue"
    opened.page.keyboard.press("End")
    assert shares(opened)[1] < 0.05
    for _ in range(40):
        opened.page.keyboard.press("ArrowLeft")
    assert float(line.input_value()) == 80 and shares(opened)[0] == pytest.approx(0.8, abs=0.1)
    assert line.get_attribute("aria-label") == "first: red on the left, blue on the right"


def test_a_finger_moves_the_line(opened):
    opened = opened(has_touch=True, width=390)
    box = opened.page.locator(".stage").bounding_box()
    opened.page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.9 * box["height"])
    red, blue = shares(opened)
    assert red == pytest.approx(0.75, abs=0.12) and blue == pytest.approx(0.25, abs=0.1)


def test_a_finger_slides_the_line_or_scrolls_the_page(opened):
    opened = opened(has_touch=True, width=390)
    box, line = opened.page.locator(".stage").bounding_box(), opened.page.locator(".stage input")
    tools = opened.context.new_cdp_session(opened.page)

    def swipe(x, y, across, up):
        tools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for i in range(1, 9):
            at = {"x": x + across * i / 8, "y": y - up * i / 8}
            tools.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [at]})
        tools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    x, y = box["x"] + 0.2 * box["width"], box["y"] + 0.9 * box["height"]
    swipe(x, y, 0.5 * box["width"], 6)
    assert float(line.input_value()) == pytest.approx(70, abs=2)
    swipe(x, y, 6, 200)
    opened.page.wait_for_function("scrollY > 50")
    assert float(line.input_value()) == pytest.approx(70, abs=2)


def test_many_photos_leave_room_for_the_slider(browser, tmp_path):
    items = [Item(f"{i}", {"red": np.full((9, 9, 3), i, np.uint8), "blue": flat(BLUE)[:9, :9]}) for i in range(120)]
    write_page(tmp_path / "many.html", "many", "", viewer(items, "red", "blue"))
    opened = Page(browser, tmp_path / "many.html", width=390)
    assert opened.page.locator(".photos").bounding_box()["height"] < 240
    opened.page.locator(".photos button").last.click()
    assert opened.page.locator(".viewer > h3").text_content() == "119"
    opened.context.close()


def test_any_two_versions_of_any_photo_can_be_chosen(opened):
    opened = opened()
    opened.page.select_option("select[name=left]", "blue")
    opened.page.select_option("select[name=right]", "spot")
    assert shares(opened)[0] < 0.01 and share(opened.shown(), GREEN) > 0.3
    opened.page.locator(".photos button").nth(1).click()
    assert opened.page.locator(".viewer > h3").text_content() == EVIL  # as text, not as markup
    assert opened.page.locator(".bench .note").text_content() == "a note"
    assert shares(opened)[0] == pytest.approx(0.5, abs=0.1)  # the choice stays: on the left "blue", which is red here
    assert [each.get_attribute("aria-pressed") for each in opened.page.locator(".photos button").all()] == [
        "false",
        "true",
        "false",
    ]


def test_the_frame_chooses_the_detail(opened):
    opened = opened()
    opened.page.select_option("select[name=left]", "spot")
    detail = opened.page.locator(".detail").nth(2)

    def white():
        return share(pixels_of(detail), (255, 255, 255))

    whole = 400 / 64**2
    assert white() == pytest.approx(whole, abs=0.03)  # 20×20 of 64×64 pixels, enlarged
    frame = opened.page.locator(".frame")
    frame.focus()
    for key in ["Shift+ArrowDown"] * 2:
        opened.page.keyboard.press(key)
    assert white() < 0.03  # the frame is at the lower end of the photo: 4 rows of the spot are left
    box = frame.bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.page.mouse.move(*at)
    opened.page.mouse.down()
    opened.page.mouse.move(at[0], at[1] - 500)
    opened.page.mouse.up()
    assert white() == pytest.approx(whole, abs=0.03)
    size = opened.page.locator("input.size")
    size.fill("32")
    assert frame.bounding_box()["width"] == pytest.approx(box["width"] / 2, abs=2)


def test_the_slider_over_time_shows_each_moment(opened):
    opened = opened()
    line = opened.page.locator(".time input")
    assert opened.page.locator(".time .now + figcaption").text_content() == "step 3 3 dB"
    line.focus()
    opened.page.keyboard.press("Home")
    assert opened.page.locator(".time .now + figcaption").text_content() == "step 0 0 dB"
    opened.page.keyboard.press("ArrowRight")
    assert line.get_attribute("aria-valuetext") == "step 1" and "2 of 4" in opened.page.locator(".when").text_content()


def test_a_chart_reads_its_values_to_the_pointer_and_to_keys(opened):
    opened = opened()
    svg, reading = opened.page.locator(".chart svg").first, opened.page.locator(".reading").first
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    opened.page.mouse.move(box["x"] + box["width"] * (52 + 0.5 * 418) / 480, box["y"] + box["height"] / 2)
    assert reading.text_content() == "step 5 · a 0.5 · drift"
    opened.page.mouse.move(2, 2)
    assert reading.text_content() == ""
    svg.focus()
    opened.page.keyboard.press("Home")
    opened.page.keyboard.press("ArrowRight")
    assert reading.text_content() == "step 1 · a 0.1"
    assert opened.page.locator(".mark title").first.text_content() == "drift, steps 4 to 6: the colours drift"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1400])
def test_a_page_fits_its_window_in_light_and_dark(opened, width, scheme):
    opened = opened(width=width, color_scheme=scheme, reduced_motion="reduce")
    stage, photo = opened.page.locator(".stage").bounding_box(), SIZE[1]
    assert stage["width"] % photo < 1 and stage["width"] <= min(width, 768)  # each of the photo's pixels as large
    for button in opened.page.locator(".photos button").all():
        button.click()
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    colours = opened.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    paper, ink = (sum(int(part) for part in each[4:-1].split(",")) for each in colours)
    assert paper - ink > 500 if scheme == "light" else ink - paper > 500
    assert opened.page.evaluate("getComputedStyle(document.querySelector('.photos button')).transitionDuration") == "0s"


def test_a_page_can_be_read_without_its_script(opened):
    opened = opened(java_script_enabled=False)
    figures = opened.page.locator(".versions figure")
    assert figures.count() == 9 and figures.first.is_visible() and "30.00 dB" in figures.first.text_content()
    assert opened.page.locator(".moments figure").count() == 4 and opened.page.locator("table").is_visible()
    assert opened.page.locator("polyline").first.is_visible()
