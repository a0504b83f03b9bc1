"""A page in headless Chromium, for tests of what it does."""

import io
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


def pixels_of(locator):
    """What shows of an element: (H, W, 3) of int."""
    with Image.open(io.BytesIO(locator.screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@contextmanager
def chromium():
    """The browser; the test skips where there is none, or no playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[browser]'")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Page:
    """An opened page, and what it did that it should not: messages on the console, requests."""

    def __init__(self, browser, path, width=1000, **options):
        self.context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.resolve().as_uri())

    def loads_nothing(self):
        others = [url for url in self.asked if not url.startswith("data:")]
        return len(others) == 1 and others[0].startswith("file:")  # the page itself

    def shown(self):
        """What is on the stage, as pixels."""
        return pixels_of(self.page.locator(".stage"))
