"""Turn DvsGesture.tar.gz into the HDF5 files that MA-SNN reads, one per gesture, in `train` and `test` beside it.

    python ma_snn/DVSGestures/data/DVS_Gesture.py --data-path FOLDER_WITH_THE_ARCHIVE

An interrupted conversion goes on where it stopped when the same command is given again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.training import run
from ma_snn.data.dvs_gesture_hdf5 import EXPECTED, convert

ARCHIVE = "DvsGesture.tar.gz"


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert as the command line says and print what there is now."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument(
        "--data-path", type=Path, default=here, help=f"folder of {ARCHIVE}, or of DvsGesture, where it is unpacked"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    args = parser.parse_args(arguments)
    root, archive = args.data_path, args.data_path / ARCHIVE
    problems = convert(archive if archive.is_file() else root / "DvsGesture", root, args.workers)
    for part in EXPECTED:
        print(f"{root / part}: {len(list((root / part).glob('DVS-Gesture-*.hdf5')))} gestures")
    for problem in problems:
        print(f"warning: {problem}")


if __name__ == "__main__":
    run(main)
