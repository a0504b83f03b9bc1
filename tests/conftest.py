"""What several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def measurement_data():
    """The folder of the standard image sets: $MINISRGAN_DATA, else ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MINISRGAN_DATA") or default)
    if not (folder / "Set5").is_dir():
        pytest.skip(f"the measurement images are not at {folder}; MINISRGAN_DATA names another place")
    return folder
