"""The package's exceptions. The command line prints any of them as one line and exits with 2."""


class MinisrganError(Exception):
    """The base class: catch this to catch every error that the package raises on purpose."""


class ShapeError(MinisrganError, ValueError):
    """An operation cannot take arrays of these shapes or dtypes."""


class GraphError(MinisrganError, RuntimeError):
    """A graph cannot give the gradient that was asked for."""


class DeviceError(MinisrganError, RuntimeError):
    """A device is not there or does not work."""


class KernelError(MinisrganError, RuntimeError):
    """A kernel does not compile, or cannot be launched with these arguments."""


class ImageError(MinisrganError):
    """A picture cannot be read, written or used."""


class WeightsError(MinisrganError):
    """A file of weights or a checkpoint cannot be read or does not fit."""


class ConfigError(MinisrganError, ValueError):
    """A setting has a value that it may not have."""


class DivergedError(MinisrganError, ArithmeticError):
    """A training's loss or gradient is no longer finite."""


class RanksError(MinisrganError, RuntimeError):
    """Another process of a training on several ranks does not answer."""


def message_of(error: BaseException) -> str:
    """What to tell a user of an error that a command expects."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return "out of memory: try a smaller preset or photo" if isinstance(error, MemoryError) else str(error)
