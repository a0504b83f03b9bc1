"""A training step as one CUDA graph, on a GPU. (test_graph.py has more, on the stand-in for CuPy.)"""

import os
import subprocess
import sys

import pytest
from test_acts_like_cupy import TESTS
from test_graph import TRAINING

from minisrgan.device import cuda_problem

PROBLEM = cuda_problem()


@pytest.mark.skipif(PROBLEM is not None, reason=str(PROBLEM))
@pytest.mark.parametrize(
    "changes",
    [
        "dict()",
        "dict(adversarial_share=0.5, tv_weight=1e-3, adversarial='relativistic')",
        "dict(regulariser='spectral-norm', discriminator=discriminator(batch_norm=False, spectral_norm=True))",
    ],
)
def test_a_recorded_training_has_the_bits_of_one_that_is_not(changes):
    program = f"""{TRAINING}
plain, recorded = train(False, **{changes}), train(True, **{changes})
for (*eager, _, _), (*replayed, _, problem) in zip(plain, recorded):
    assert problem is None, problem
    assert eager[0] == replayed[0], "what the steps measured"
    assert eager == replayed
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(TESTS.parent)])}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-6000:]
