"""From what a script is given to frames that its networks read."""

import argparse
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
    """Where frames made with `settings` are: raw recordings are converted below the output folder first.

    They are those in `--data-path`; without it a set of the size `tiny` for `--tiny`, else those in `default`.
    """
    source, folder = args.data_path or default, args.output_dir / "data"
    with main_first(process):
        if args.tiny and not args.data_path:
            source = card.write_tiny(folder / f"{card.name}_tiny_raw", **tiny)
        return prepare(card.loader, source, folder / f"{card.name}_{source.resolve().name}", **settings).root
