"""A launcher's environment variables, and a process' part of the machine."""

import os

import pytest

from minisrgan.ranks.launch import Place, place_of, share_machine

MPICH = {"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
OPEN_MPI = {f"OMPI_COMM_WORLD_{name}": n for name, n in
            {"RANK": "3", "SIZE": "4", "LOCAL_RANK": "1", "LOCAL_SIZE": "2"}.items()}  # fmt: skip
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8"}


@pytest.mark.parametrize(
    "environment, place",
    [
        (MPICH, Place(1, 4, 1, 2)),
        (OPEN_MPI, Place(3, 4, 1, 2)),
        (SRUN, Place(5, 8, 1, 1)),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, Place(0, 2, 0, 1)),
        ({}, None),
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, None),  # mpiexec -n 1
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # a batch script
        ({"PMI_RANK": "first", "PMI_SIZE": "2"}, None),
    ],
)
def test_the_place_is_what_the_launcher_says(environment, place):
    assert place_of(environment) == place


def shared(place, **environment):
    share_machine(place, environment)
    return environment


def test_each_rank_has_a_gpu_of_its_own():
    assert shared(Place(3, 4, 1, 2))["CUDA_VISIBLE_DEVICES"] == "1"
    assert shared(Place(3, 4, 1, 2), CUDA_VISIBLE_DEVICES="4,6,7")["CUDA_VISIBLE_DEVICES"] == "6"
    assert shared(Place(3, 4, 1, 2), CUDA_VISIBLE_DEVICES="5")["CUDA_VISIBLE_DEVICES"] == "5"  # the launcher's choice
    assert shared(Place(3, 4, 2, 3), CUDA_VISIBLE_DEVICES="4,6")["CUDA_VISIBLE_DEVICES"] == ""  # there are too few


def test_the_ranks_of_a_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)
    environment = shared(Place(1, 4, 1, 2), OMP_NUM_THREADS="3")
    assert (environment["MINISRGAN_THREADS"], environment["OMP_NUM_THREADS"]) == ("4", "3")
    assert shared(Place(1, 16, 1, 16))["OMP_NUM_THREADS"] == "1"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(2), raising=False)  # bound by the launcher
    assert "OMP_NUM_THREADS" not in shared(Place(1, 4, 1, 2))
