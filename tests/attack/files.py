"""Fuzzers of everything that reads a file: each makes good files, damages them, and looks at what is read."""

import argparse
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import safetensors.torch
import torch
from PIL import Image
from scipy.io import savemat

from common.archives import extract
from common.conversion import cache, stages
from common.conversion.split import make_split, read_split, save_split
from common.datasets import shards
from common.datasets.dvs128_gesture import read_list
from common.datasets.dvs_gait import read_array
from common.errors import UserError
from common.events import compiled
from common.events.aedat import encode_aedat2, encode_aedat3, read_aedat2, read_aedat3
from common.events.atis import encode_atis, read_atis
from common.events.event import EVENT, pack
from common.events.frames import frames_by_number
from common.events.hdf5 import read_hdf5
from common.events.matlab import read_matlab
from common.events.object_arrays import read_object_array
from common.events.slicing import read_labels
from common.events.text import read_text
from common.pictures import read_picture
from common.training import load_checkpoint, load_weights, start
from common.training.settings import read_settings
from common.training.state import TrainingState
from tests.attack.mutate import mutate
from tests.attack.report import Report, outcome_of, try_all
from tools.weights.files import read_card, read_foreign, write_weights

Fuzzer = Callable[[int, Path], Report]
SEED = 0


def events(count: int = 60) -> np.ndarray:
    """A small recording."""
    generator = np.random.default_rng(SEED)
    places = generator.integers(0, 128, (2, count))
    return pack(np.sort(generator.integers(0, 10**6, count)), *places, generator.integers(0, 2, count))


def fuzzers() -> dict[str, Fuzzer]:
    """{name: fuzzer}."""
    found = {
        **{f"{name}, both backends": partial(_both_backends, name) for name in BYTES},
        **{f"{name} as a file": partial(_one_file, name) for name in FILES},
    }
    return found | {"checkpoint: exact or refused": _checkpoints, "archives: nothing escapes": _archives}


def _check_events(found: np.ndarray) -> str:
    """Events are of their type, and either count into frames or are refused."""
    if found.dtype != EVENT or found.ndim != 1:
        return f"!type: {found.dtype}"
    try:
        if frames_by_number(found, 3, 128, 128).sum() != len(found):
            return "!count: frames do not hold all events"
    except UserError:
        return "outside the sensor"
    return "read"


BYTES = {
    "AEDAT 2.0": (encode_aedat2(events(), orientation="raw"), partial(read_aedat2, orientation="cifar10dvs")),
    "AEDAT 3.1": (encode_aedat3(events(), packet_events=16), read_aedat3),
    "ATIS": (encode_atis(events()), read_atis),
}


def _both_backends(name: str, trials: int, folder: Path) -> Report:
    good, read = BYTES[name]

    def trial(number: int) -> str:
        content, results = mutate(good, (name, number)), []
        for loaded in (compiled._loaded, lambda: None):
            kept, compiled._loaded = compiled._loaded, loaded
            try:
                results.append(read(content))
            except UserError as error:
                results.append(str(error))
            finally:
                compiled._loaded = kept
        if not np.array_equal(*results):
            return f"!backends differ: {results[0]!r:.100} and {results[1]!r:.100}"
        return "refused" if isinstance(results[0], str) else _check_events(results[0])

    return try_all(f"{name}, both backends", trial, trials)


def _text() -> bytes:
    with io.BytesIO() as stream:
        np.savetxt(stream, np.stack([events()[field].astype(int) for field in "txyp"], 1), "%d")
        return stream.getvalue()


def _npy(array: np.ndarray, pickled: bool = False) -> bytes:
    with io.BytesIO() as stream:
        np.save(stream, array, allow_pickle=pickled)
        return stream.getvalue()


def _zipped(members: dict[str, bytes]) -> bytes:
    with io.BytesIO() as stream:
        with zipfile.ZipFile(stream, "w") as bundle:
            for name, content in members.items():
                bundle.writestr(name, content)
        return stream.getvalue()


def _unzipped(good: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(good)) as bundle:
        return {name: bundle.read(name) for name in bundle.namelist()}


def _npz(_: Path) -> bytes:
    return _zipped({f"{name}.npy": _npy(events()[name]) for name in "txyp"})


def _damaged_npz(good: bytes, seed: object) -> bytes:
    """A file of arrays of which one is damaged, with checksums that are right."""
    members = _unzipped(good)
    field = random.Random(repr(seed)).choice(list(members))
    return _zipped(members | {field: mutate(members[field], seed)})


def _mat(**settings: object) -> bytes:
    with io.BytesIO() as stream:
        columns = events()
        matrix = np.stack([columns["t"], 0 * columns["t"], 0 * columns["t"], *(columns[name] for name in "xyp")], 1)
        savemat(stream, {"out": matrix.astype(float), "note": "x"}, **settings)
        return stream.getvalue()


def _mat73() -> bytes:
    with io.BytesIO() as stream:
        with h5py.File(stream, "w") as content:
            content["out"] = np.ones((6, 40), np.uint32)
        return stream.getvalue()


def _hdf5() -> bytes:
    with io.BytesIO() as stream:
        with h5py.File(stream, "w") as content:
            content["times"], content["addrs"] = np.arange(9, dtype="u4"), np.ones((9, 3), "u1")
            content.create_dataset("labels", data=np.uint8(3))
        return stream.getvalue()


def _picture(form: str, kind: str = "uint8") -> bytes:
    with io.BytesIO() as stream:
        Image.fromarray((np.arange(256).reshape(16, 16) * (257 if kind == "uint16" else 1)).astype(kind)).save(
            stream, form
        )
        return stream.getvalue()


def network() -> torch.nn.Module:
    """A small network."""
    torch.manual_seed(SEED)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def _saved(content: object, **settings: object) -> bytes:
    with io.BytesIO() as stream:
        torch.save(content, stream, **settings)
        return stream.getvalue()


def _repacked(damage: Callable[[bytes], bytes], good: bytes) -> bytes:
    """A file of torch.save whose pickle is damaged and whose checksums are right."""
    return _zipped(
        {name: damage(content) if name.endswith("data.pkl") else content for name, content in _unzipped(good).items()}
    )


def training_state() -> TrainingState:
    """What a run of `network` has to be resumed."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return TrainingState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False), None, None)


def _checkpoint(folder: Path) -> bytes:
    process, state = start("cpu"), training_state()
    state.save(folder / "good.pt", process, {"model": "x"})
    return (folder / "good.pt").read_bytes()


def _resume(path: Path) -> str:
    training_state().load(path, start("cpu"), {"model": "x"})
    return "read"


def _parts(folder: Path) -> bytes:
    """The one part of a checkpoint that is in `folder / "parts"`, as `--fsdp` writes it."""
    state = training_state()
    for parameter in state.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    state.sharded = SimpleNamespace(network=state.model, average=None)
    state.save(folder / "parts" / "checkpoint.pt", start("cpu"), {"model": "x"})
    return _part(folder).read_bytes()


def _part(folder: Path) -> Path:
    return next((folder / "parts" / "checkpoint-0-0.parts").iterdir())


def _resume_parts(path: Path) -> str:
    _part(path.parent).write_bytes(path.read_bytes())
    return _resume(path.parent / "parts" / "checkpoint.pt")


def _same_size(good: bytes, seed: object) -> bytes:
    """Damage that the size does not tell."""
    return mutate(good, seed)[: len(good)].ljust(len(good), b"\0")


def _shards(folder: Path) -> Path:
    """A folder of shards of 3 pictures."""
    names = [folder / f"{number}.png" for number in range(3)]
    for name in names:
        name.write_bytes(_picture("png"))
    shards.write_shards(
        [(str(name), number % 2) for number, name in enumerate(names)], ["a", "b"], folder / "shards", 2
    )
    return folder / "shards"


def _see_shards(name: str, path: Path) -> str:
    """Read all pictures of shards, of which one file is that at `path`."""
    folder = path.parent / "shards"
    (folder / name).unlink()  # as who mends one: a loader may have the old one open
    (folder / name).write_bytes(path.read_bytes())
    shards._opened.cache_clear()
    pictures = shards.Shards(folder, None)
    for index in range(len(pictures)):
        pictures[index]
    return "read"


def _load(path: Path) -> str:
    load_weights(network(), path)
    return "read"


def _import(path: Path) -> str:
    read_foreign(path, path.read_bytes(), path.parent)
    return "read"


COLOURS, GREYS = partial(read_picture, mode="RGB"), partial(read_picture, mode="L")


def _facts(path: Path) -> str:
    (path.parent / "data").mkdir(exist_ok=True)
    (path.parent / "data" / cache.FACTS).write_bytes(path.read_bytes())
    cache.facts(path.parent / "data")
    return "read"


def _marker(path: Path) -> str:
    place = path.parent / "data" / stages.FOLDER / "events_np.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    stages.marked(path.parent / "data", "events_np")
    return "read"


def _frames(path: Path) -> str:
    return "read" if np.isfinite(cache.load_frames(path)).all() else "!values: not finite"


def _settings(path: Path) -> str:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--sizes", type=int, nargs="*")
    read_settings(path, parser)
    return "read"


def _anything(read: Callable[[Path], object], path: Path) -> str:
    read(path)
    return "read"


def _recording(read: Callable[[Path], np.ndarray], path: Path) -> str:
    return _check_events(read(path))


def _card(path: Path) -> str:
    read_card(path.with_suffix(".safetensors"))
    return "read"


def _good_files(folder: Path) -> dict[str, bytes]:
    """Files that are written through the project's own functions."""
    split = make_split({"a": ["1.npz", "2.npz"], "b": ["1.npz", "2.npz"]}, 1)
    save_split(folder / "split.json", split, "by hand")
    stages.mark(folder, "events_np", ["a"])
    cache.save_frames(folder / "frames.npz", np.ones((2, 2, 4, 4)))
    facts = {"source": "x", "source_file": "y", "source_sha256": "z", "source_size": 1, "imported": "now"}
    write_weights(folder / "w.safetensors", {"a": torch.ones(2)}, name="w", paper="p", model="m", create={}, **facts)
    names = {"split": "split.json", "marker": ".done/events_np.json", "frames": "frames.npz", "card": "w.json"}
    return {key: (folder / name).read_bytes() for key, name in names.items()}


_STATE = network().state_dict()
_EXTRA = {"model": _STATE, "acc": np.float64(3), "log": np.arange(3.0), "epoch": 2}
_FACTS = json.dumps({"dataset": "x", "source": "y", "classes": ["a"], "recordings": 1, "sensor_size": [4, 4]}).encode()
_LABELS = b"class,startTime_usec,endTime_usec\n1,10,20\n2,20,30\n"
_YAML = b"epochs: 300\nlr: 5e-4\nsizes: [1, 2]\nother: {a: 2020-01-01}\n"
_OBJECTS = np.array([np.ones((2, 4), int), np.ones((3, 4), int)], dtype=object)

FILES: dict[str, tuple[Callable[[Path], bytes], str, Callable[[Path], str], Callable[[bytes, object], bytes]]] = {
    "text": (lambda _: _text(), ".txt", partial(_recording, read_text), mutate),
    "labels": (lambda _: _LABELS, ".csv", partial(_anything, read_labels), mutate),
    "list": (lambda _: b"a.aedat\nb.aedat\n", ".txt", partial(_anything, read_list), mutate),
    ".mat 4": (lambda _: _mat(format="4"), ".mat", partial(_recording, read_matlab), mutate),
    ".mat 5": (lambda _: _mat(), ".mat", partial(_recording, read_matlab), mutate),
    ".mat 7": (lambda _: _mat(do_compression=True), ".mat", partial(_recording, read_matlab), mutate),
    ".mat 7.3": (lambda _: _mat73(), ".mat", partial(_recording, read_matlab), mutate),
    "HDF5": (lambda _: _hdf5(), ".hdf5", lambda path: _check_events(read_hdf5(path)[0]), mutate),
    "events npz": (_npz, ".npz", partial(_recording, cache.load_events), mutate),
    "events npz, right checksums": (_npz, ".npz", partial(_recording, cache.load_events), _damaged_npz),
    "frames npz": (lambda folder: _good_files(folder)["frames"], ".npz", _frames, mutate),
    "gait npy": (lambda _: _npy(events()), ".npy", partial(_recording, read_array), mutate),
    "object npy": (
        lambda _: _npy(_OBJECTS, True), ".npy", partial(_anything, read_object_array), mutate,
    ),
    "split.json": (
        lambda folder: _good_files(folder)["split"], ".json", partial(_anything, read_split), mutate,
    ),
    "dataset.json": (lambda _: _FACTS, ".json", _facts, mutate),
    "done-marker": (lambda folder: _good_files(folder)["marker"], ".json", _marker, mutate),
    "weights card": (lambda folder: _good_files(folder)["card"], ".json", _card, mutate),
    "png": (lambda _: _picture("png"), ".png", partial(_anything, COLOURS), mutate),
    "16-bit png": (
        lambda _: _picture("png", "uint16"), ".png", partial(_anything, GREYS), mutate,
    ),
    "jpeg": (lambda _: _picture("jpeg"), ".jpg", partial(_anything, COLOURS), mutate),
    "tiff": (lambda _: _picture("tiff"), ".tif", partial(_anything, COLOURS), mutate),
    "weights, torch": (lambda _: _saved(_EXTRA), ".pth", _load, mutate),
    "weights, torch, right checksums": (
        lambda _: _saved(_EXTRA), ".pth", _load, lambda good, seed: _repacked(lambda part: mutate(part, seed), good),
    ),
    "weights, old torch": (lambda _: _saved(_EXTRA, _use_new_zipfile_serialization=False), ".t7", _load, mutate),
    "weights, safetensors": (lambda _: safetensors.torch.save(_STATE), ".safetensors", _load, mutate),
    "weights, import": (lambda _: _zipped({"run/a.pth": _saved(_STATE)}), ".zip", _import, mutate),
    "checkpoint, --resume, right checksums": (
        _checkpoint, ".pt", _resume, lambda good, seed: _repacked(lambda part: mutate(part, seed), good),
    ),
    "checkpoint in parts": (_parts, ".safetensors", _resume_parts, mutate),
    "checkpoint in parts, right sizes": (_parts, ".safetensors", _resume_parts, _same_size),
    "index of shards": (
        lambda folder: (_shards(folder) / shards.INDEX).read_bytes(),
        ".npz", partial(_see_shards, shards.INDEX), mutate,
    ),
    "index of shards, right checksums": (
        lambda folder: (_shards(folder) / shards.INDEX).read_bytes(),
        ".npz", partial(_see_shards, shards.INDEX), _damaged_npz,
    ),
    "shard": (
        lambda folder: (_shards(folder) / "000000.tar").read_bytes(),
        ".tar", partial(_see_shards, "000000.tar"), mutate,
    ),
    "settings yml": (lambda _: _YAML, ".yml", _settings, mutate),
}  # fmt: skip


def _one_file(name: str, trials: int, folder: Path) -> Report:
    make, suffix, read, damage = FILES[name]
    good = make(folder)
    path = folder / f"damaged{suffix}"
    path.write_bytes(good)
    if (whole := outcome_of(lambda: read(path))) != "read":
        raise AssertionError(f"{name}: the good file is {whole}")

    def trial(number: int) -> str:
        path.write_bytes(damage(good, (name, number)))
        return read(path)

    return try_all(f"{name} as a file", trial, trials)


def _checkpoints(trials: int, folder: Path) -> Report:
    """A damaged checkpoint is refused, or the damage is where it does not matter: then all of it is as it was."""
    good = _checkpoint(folder)
    path = folder / "damaged.pt"
    path.write_bytes(good)
    whole = repr(load_checkpoint(path))

    def trial(number: int) -> str:
        path.write_bytes(mutate(good, ("checkpoint", number)))
        return "the same" if repr(load_checkpoint(path)) == whole else "!wrong result: other content"

    return try_all("checkpoint: exact or refused", trial, trials)


def _tarred(members: dict[str, bytes], mode: str) -> bytes:
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode=mode, format=tarfile.PAX_FORMAT) as bundle:
            for name, content in members.items():
                header = tarfile.TarInfo(name)
                header.size, header.pax_headers = len(content), {"comment": "ü" * 20}
                bundle.addfile(header, io.BytesIO(content))
        return stream.getvalue()


def _archives(trials: int, folder: Path) -> Report:
    """An archive is unpacked into its folder or refused, and nothing else is written."""
    members = {"a/1.bin": b"one" * 9, "a/2.bin": b"two" * 9, "b/c/3.bin": bytes(99)}
    kinds = [("zip", _zipped(members)), ("tar", _tarred(members, "w:")), ("tgz", _tarred(members, "w:gz"))]
    room = folder / "room"

    def listing() -> set[Path]:
        return {path for path in folder.rglob("*") if room / "out" not in (path, *path.parents)}

    def trial(number: int) -> str:
        suffix, good = kinds[number % len(kinds)]
        archive = room / "inner" / f"damaged.{suffix}"
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(mutate(good, ("archive", number)))
        before = listing()
        try:
            extract(archive, room / "out", suffixes=(".bin",), nested=True)
            ended = "unpacked"
        except UserError:
            ended = "refused"
        for path in sorted((room / "out").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (room / "out").rmdir() if (room / "out").is_dir() else None
        return ended if listing() == before else f"!escape: {sorted(map(str, listing() - before))}"

    return try_all("archives: nothing escapes", trial, trials)
