"""Checks every derivative again, to the second order, in float64, through the kernels."""

import numpy as np
import pytest
from kernel_helpers import DEVICE, needs_kernels

from minisrgan.device import use_device
from minisrgan.studies import gradcheck

pytestmark = needs_kernels
CASES = gradcheck.all_cases()


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.name}" for i, case in enumerate(CASES)])
def test_gradients(case):
    with use_device(DEVICE):
        result = gradcheck.examine(case, DEVICE, np.random.default_rng(1))
    assert result.passed, result
