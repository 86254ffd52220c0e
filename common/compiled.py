"""Finding the C++ extensions that `pip install` compiles where it can."""

import ctypes
import sysconfig
from functools import cache
from pathlib import Path


def extension_path(module: str, name: str) -> Path:
    """Where the compiled extension `name` belongs: beside the file `module`."""
    return Path(module).with_name(name + sysconfig.get_config_var("EXT_SUFFIX"))


@cache
def load_extension(path: Path) -> ctypes.CDLL | str:
    """The loaded extension, or why there is none and what to do."""
    if not path.exists():
        return "the C++ extension was not compiled at install; install g++ and run `pip install -e .` again"
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        return f"the C++ extension does not load ({error}); run `pip install -e .` again"
