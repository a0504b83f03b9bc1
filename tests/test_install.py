"""The set-up script, without a network: pip is replaced by a recorder."""

import subprocess
import sys

import pytest

import install


@pytest.mark.parametrize(
    "driver, capability, extra",
    [
        (13000, (9, 0), "cuda13"),
        (14010, (12, 0), "cuda13"),
        (13000, (7, 5), "cuda13"),
        (13000, (6, 1), "cuda12"),  # a GTX 1080: its newest driver speaks CUDA 13, whose compiler left it out
        (12090, (9, 0), "cuda12"),
        (12000, (5, 2), "cuda12"),
        (11080, (8, 6), None),
    ],
)
def test_cupy_follows_the_driver_and_the_gpu(driver, capability, extra):
    assert install.cupy_extra(driver, capability) == extra


class FakeDriver:
    """libcuda as ctypes shows it: every function returns an error code and writes through a pointer."""

    def __init__(self, devices=1, init=0, version=12040):
        self.devices, self.init, self.version = devices, init, version

    def cuInit(self, flags):
        return self.init

    def cuDeviceGetCount(self, count):
        return self.write(count, self.devices)

    def cuDeviceGet(self, device, ordinal):
        return self.write(device, ordinal)

    def cuDeviceGetAttribute(self, value, attribute, device):
        return self.write(value, {75: 8, 76: 6}[attribute])

    def cuDriverGetVersion(self, version):
        return self.write(version, self.version)

    def write(self, pointer, value):
        pointer._obj.value = value
        return 0


def missing(name):
    raise OSError(f"{name}: cannot open shared object file")


def test_the_gpu_is_what_the_driver_says():
    assert install.nvidia_gpu(lambda name: FakeDriver()) == (12040, (8, 6))


@pytest.mark.parametrize("load", [missing, lambda name: FakeDriver(devices=0), lambda name: FakeDriver(init=100)])
def test_no_gpu_without_a_driver_or_a_device_or_with_an_error(load):
    assert install.nvidia_gpu(load) is None


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a real .venv, where `pip install` only notes what it was asked for."""
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\ncuda12 = ["cupy-for-12"]\n')
    asked = []
    for name, stand_in in {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "PYTHON": tmp_path / ".venv" / "bin" / "python",
        "STAMP": tmp_path / ".venv" / "minisrgan-setup",
        "bring_pip": lambda: None,
        "nvidia_gpu": lambda: None,
        "pip": lambda *arguments: asked.append(arguments),
    }.items():
        monkeypatch.setattr(install, name, stand_in)
    return tmp_path, asked


def test_a_second_set_up_installs_nothing(project):
    root, asked = project
    install.set_up()
    assert asked == [("-r", root / "requirements.txt"), ("--no-deps", "-e", ".")]  # no path: pip reads [brackets]
    install.set_up()
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_an_edited_requirement_is_installed(project, name):
    root, asked = project
    install.set_up()
    with open(root / name, "a") as file:
        file.write("# edited\n")
    install.set_up()
    assert len(asked) == 4


def test_a_gpu_that_came_later_gets_its_cupy(project, monkeypatch):
    _, asked = project
    install.set_up()
    monkeypatch.setattr(install, "nvidia_gpu", lambda: (12040, (8, 6)))
    install.set_up()
    assert asked[-1] == ("cupy-for-12",)


def test_an_old_driver_is_named(project, monkeypatch, capsys):
    _, asked = project
    monkeypatch.setattr(install, "nvidia_gpu", lambda: (11080, (8, 6)))
    install.set_up()
    assert len(asked) == 2
    assert "driver is older than CUDA 12" in capsys.readouterr().out


def test_without_cupy_the_set_up_still_succeeds(project, monkeypatch, capsys):
    def no_cupy(*arguments):
        if arguments[0].startswith("cupy"):
            raise install.SetupError("pip could not install it")

    monkeypatch.setattr(install, "nvidia_gpu", lambda: (12040, (8, 6)))
    monkeypatch.setattr(install, "pip", no_cupy)
    install.set_up()
    assert "warning: no CuPy, so no GPU: pip could not install it" in capsys.readouterr().out
    assert install.STAMP.exists()


def test_a_failed_set_up_is_tried_again(project, monkeypatch):
    _, asked = project

    def fails(*arguments):
        raise install.SetupError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(install, "pip", fails)
        with pytest.raises(install.SetupError):
            install.set_up()
    install.set_up()
    assert len(asked) == 2


def test_a_sound_venv_is_kept(project):
    install.set_up()
    assert install.venv_problem() is None


def test_a_moved_venv_is_made_again(project, monkeypatch):
    root, asked = project
    install.set_up()
    moved = root / "moved"
    install.VENV.rename(moved)
    monkeypatch.setattr(install, "VENV", moved)
    monkeypatch.setattr(install, "PYTHON", moved / "bin" / "python")
    monkeypatch.setattr(install, "STAMP", moved / "minisrgan-setup")
    assert install.venv_problem() == "the folder has moved"
    install.set_up()
    assert install.venv_problem() is None
    assert len(asked) == 4


def test_a_venv_whose_python_is_gone_is_made_again(project):
    install.set_up()
    install.PYTHON.unlink()
    install.PYTHON.symlink_to("/nowhere/python3")
    assert install.venv_problem() == "it has no Python"
    install.set_up()
    assert install.venv_problem() is None


def test_a_venv_of_another_python_is_made_again(project):
    install.set_up()
    install.PYTHON.unlink()
    install.PYTHON.write_text("#!/bin/sh\necho 3.10\n")
    install.PYTHON.chmod(0o755)
    assert install.venv_problem().startswith("it has Python 3.10 and this is 3.")


def test_a_failing_command_shows_what_it_said(capsys):
    command = [sys.executable, "-c", "print('no matching distribution'); raise SystemExit(1)"]
    with pytest.raises(install.SetupError, match="pip could not"):
        install.run(command, "pip could not")
    assert "no matching distribution" in capsys.readouterr().out


def test_without_a_network_that_is_said(capsys):
    said = "WARNING: Retrying after connection broken by [Errno -3] Temporary failure in name resolution"
    command = [sys.executable, "-c", f"print({said!r}); raise SystemExit(1)"]
    with pytest.raises(install.SetupError, match="pip could not install x: no network.*PIP_INDEX_URL"):
        install.run(command, "pip could not install x")
    assert capsys.readouterr().out == ""


def test_commands_run_where_the_project_is(project):
    install.run([sys.executable, "-c", "import os; open('here', 'w')"], "failed")
    assert (project[0] / "here").exists()


@pytest.mark.parametrize("made", [False, True])
def test_a_checkout_that_cannot_be_written_is_one_line(project, monkeypatch, made):
    root, asked = project
    if made:
        install.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], "")
    monkeypatch.setattr(install.os, "access", lambda path, mode: False)  # so also for root, who writes anywhere
    with pytest.raises(SystemExit, match=r"^set-up failed: \S+ cannot be written: copy the project"):
        install.main()
    assert not asked and (root / ".venv").exists() == made


def test_two_set_ups_take_turns():
    with install.setup_lock():
        second = f"import runpy; runpy.run_path({install.__file__!r})['setup_lock'](); print('second')"
        waiting = subprocess.Popen([sys.executable, "-c", second], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout.readline() == "set-up: waiting for another set-up of this folder to end\n"
    assert waiting.communicate(timeout=20)[0] == "second\n"


def test_an_older_python_gets_one_line(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 6))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed, and this is 3\.9;"):
        install.main()
