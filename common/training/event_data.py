"""From what a script is given to frames that its networks read."""

import argparse
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from common.conversion.prepare import prepare
from common.datasets.card import DataSet
from common.training.launch import Process, main_first


def frames_root(
    card: DataSet,
    args: argparse.Namespace,
    process: Process,
    default: Path,
    tiny: Mapping[str, int],
    **settings: object,
) -> Path:
    """Where frames made with `settings` are: raw recordings are converted first, see `cache_folder`.

    They are those in `--data-path`; without it a set of the size `tiny` for `--tiny`, made below the output folder,
    else those in `default`.
    """
    with main_first(process):
        if args.tiny and not args.data_path:
            folder = args.output_dir / "data" / f"{card.name}_tiny_raw"
            return prepare(card.loader, card.write_tiny(folder, **tiny), folder.with_name(card.name), **settings).root
        source = args.data_path or default
        return prepare(card.loader, source, cache_folder(card.name, source, args.output_dir), **settings).root


def cache_folder(name: str, source: Path, output_dir: Path) -> Path:
    """Where what is made of `source` is kept: in `data_cache` beside the output folder, where all runs there find it.

    In the output folder itself where nothing can be written beside it. Each source has its own place.
    """
    source, beside = source.resolve(), output_dir.resolve().parent
    home = beside if os.access(beside, os.W_OK) or not beside.exists() else output_dir / "data"
    digest = hashlib.sha256(str(source).encode()).hexdigest()[:8]
    return home / "data_cache" / f"{name}_{source.name}_{digest}"
