"""What can go wrong, by name. The command line prints any of these as one line and exits with 2."""


class MinisrganError(Exception):
    """The root: catch this to catch every error the package raises on purpose."""


class ShapeError(MinisrganError, ValueError):
    """Arrays whose shapes or dtypes an operation cannot take."""


class GraphError(MinisrganError, RuntimeError):
    """A gradient asked of a graph that cannot give it."""


class DeviceError(MinisrganError, RuntimeError):
    """A device that is not there or does not work."""


class KernelError(MinisrganError, RuntimeError):
    """A kernel that does not compile, or cannot be launched with what it was given."""


class ImageError(MinisrganError):
    """A picture that cannot be read, written or used."""


class WeightsError(MinisrganError):
    """A weights or checkpoint file that cannot be read or does not fit."""


class ConfigError(MinisrganError, ValueError):
    """A setting outside what it may be."""


class DivergedError(MinisrganError, ArithmeticError):
    """A training whose loss or gradient is no longer finite."""
