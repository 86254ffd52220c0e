"""Finding the C++ extensions that `pip install` compiles where it can."""

import ctypes
import hashlib
import sysconfig
from functools import cache
from pathlib import Path

LEVELS = {"v4": "AVX512", "v3": "AVX2", "v2": "DEFAULT"}
"""What a wheel holds kernels for, x86-64-v4 to v2, and what torch calls a processor that runs them; best first."""


def extension_path(module: str, name: str) -> Path:
    """Where the compiled extension `name` is, beside the file `module`: made for this machine, or for its kind."""
    import torch  # setup.py knows no torch

    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    own = Path(module).with_name(name + suffix)
    kinds = list(LEVELS.values())
    capability = torch.backends.cpu.get_cpu_capability()
    best = kinds.index(capability) if capability in kinds else len(kinds) - 1
    places = [own, *(own.with_name(f"{name}_{level}{suffix}") for level in list(LEVELS)[best:])]
    return next((place for place in places if place.exists()), own)


def source_hash(folder: Path) -> str:
    """Digest of the C++ sources in `folder`, which setup.py compiles into the extension to tell it from an old one."""
    sources = sorted([*folder.glob("*.cpp"), *folder.glob("*.h")])
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]


@cache
def load_extension(path: Path, runs_here: str = "") -> ctypes.CDLL | str:
    """The loaded extension, or why there is none and what to do; `runs_here`: its function that knows the processor."""
    if not path.exists():
        return "the C++ extension was not compiled at install; install g++ and run `pip install -e .` again"
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError as error:
        return f"the C++ extension does not load ({error}); run `pip install -e .` again"
    if not _compiled_from(loaded, path.parent / "cpp"):
        return "the C++ extension was compiled from other sources; run `pip install -e .` again"
    if runs_here and not loaded[runs_here]():
        return "the C++ extension was compiled for another processor; run `pip install -e .` again on this machine"
    return loaded


def _compiled_from(loaded: ctypes.CDLL, folder: Path) -> bool:
    if not hasattr(loaded, "source_hash"):
        return False
    loaded.source_hash.restype = ctypes.c_char_p
    return loaded.source_hash().decode() == source_hash(folder)
