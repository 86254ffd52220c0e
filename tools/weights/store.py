"""The store: imports that end complete or not at all, and the check of what is there."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from common.errors import UserError
from common.files import sha256
from common.training import read_weights
from common.weights import store_folder, weights_file
from tools.weights import drive
from tools.weights.files import Card, card_file, read_card, read_foreign, read_original, write_weights
from tools.weights.fit import arguments_of, check_fit
from tools.weights.lock import Weight


def drop_folder(name: str) -> Path:
    """Where downloads arrive, Google Drive's and those that a person puts there."""
    return store_folder() / "downloads" / name


def dropped(name: str) -> Path | None:
    """The complete file in the drop folder of `name`, or None.

    Raises:
        UserError: there are several.
    """
    folder = drop_folder(name)
    found = sorted(p for p in folder.glob("[!.]*") if p.is_file() and p.suffix not in (".part", ".crdownload"))
    if len(found) > 1:
        raise UserError(f"{folder} holds {', '.join(path.name for path in found)}; leave only the file of {name} there")
    return found[0] if found else None


def is_stored(name: str) -> bool:
    """Whether the weights called `name` are in the store, unchanged since they were written."""
    path = weights_file(name)
    return path.is_file() and card_file(path).is_file() and sha256(path) == read_card(path).sha256


def require_checkable(weight: Weight) -> None:
    """Refuse what has no network to be compared with.

    Raises:
        UserError: `weight` names no model.
    """
    if weight.model is None:
        reason = f" ({weight.note})" if weight.note else ""
        raise UserError(
            f"{weight.name} cannot be checked{reason}: weights.toml names no model of this repository for it; "
            f"give the file (source: {weight.source}) to the program that it belongs to"
        )


def import_file(weight: Weight, path: Path) -> Card:
    """Hash, read, compare with the network and store a file; the store changes only if all of that succeeds.

    The first hash seen is recorded in the card and later files have to have it (trust on first use), unless the lock
    file knows the right one.

    Raises:
        UserError: no network to compare with, a wrong hash, an unreadable or unsafe file, weights of another network,
            no room.
    """
    require_checkable(weight)
    content, digest = read_original(path)
    size = len(content)
    check_hash(weight, path, size, digest)
    state = without_leftovers(weight, read_foreign(path, content, store_folder()))
    del content  # as large as the weights, or three times that with an optimizer's state
    create = arguments_of(weight, state)
    check_fit(state, weight.model, create, path)
    try:
        return write_weights(
            weights_file(weight.name),
            state,
            name=weight.name,
            paper=weight.paper,
            model=weight.model,
            create=create,
            source=weight.source,
            **facts_of(path, size, digest),
        )
    except UserError as error:
        raise UserError(f"{error}: TORCH_HOME moves the store, which is as it was before") from error


def facts_of(path: Path, size: int, digest: str) -> dict[str, object]:
    """What a card says about the original file."""
    return {
        "source_file": path.name,
        "source_sha256": digest,
        "source_size": size,
        "imported": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_hash(weight: Weight, path: Path, size: int, digest: str) -> None:
    """Compare size and SHA-256 with the lock file, or with the first import.

    Raises:
        UserError: they differ.
    """
    if weight.size is not None and size != weight.size:
        raise UserError(
            f"{path} has {size} bytes, {weight.name} has {weight.size}: incomplete or another file; download it again"
        )
    if weight.sha256:
        if digest != weight.sha256:
            raise UserError(
                f"{path} has sha256 {digest}, weights.toml says {weight.sha256}: damaged or another file; "
                "download it again"
            )
        return
    stored = weights_file(weight.name)
    if card_file(stored).is_file() and digest != (first := read_card(stored).source_sha256):
        raise UserError(
            f"{path} has sha256 {digest}, but {weight.name} had {first} when it was first imported; if you trust the "
            f"new file more, remove {card_file(stored)} and import it again"
        )


def without_leftovers(weight: Weight, state: Mapping) -> dict:
    """`state` without the keys that the authors' loader ignored; says which."""
    left = [key for key in state if key.startswith(tuple(weight.leftovers))]
    if left:
        print(f"left out, as the authors' loader does: {', '.join(left)}")
    return {key: value for key, value in state.items() if key not in left}


def fetch(weight: Weight, *, retries: int) -> Card | None:
    """Download and import, or import what a person has put into the drop folder; None if that is still to be done.

    Raises:
        UserError: the download or the import fails, or there is nothing to download.
    """
    path = dropped(weight.name)
    if path is None and weight.status == "unpublished":
        note = f" ({weight.note})" if weight.note else ""
        raise UserError(
            f"{weight.name} was never published{note}; train it as {weight.paper}/README.md says and give --weights "
            "your own file"
        )
    require_checkable(weight)
    if path is None and not weight.drive:
        return None
    path = path or drive.download(weight.drive, drop_folder(weight.name), retries=retries)
    try:
        card = import_file(weight, path)
    except UserError as error:
        raise UserError(f"{error}; the download is kept, remove {path} to fetch it anew") from error
    if weight.drive:
        path.unlink()
    return card


def check(name: str, weights: Mapping[str, Weight]) -> str:
    """Hash and compare weights in the store with card, lock file and network; say how far they can be trusted.

    Raises:
        UserError: something does not agree.
    """
    path = weights_file(name)
    again = f"run `python tools/fetch_weights.py fetch {name}` or `import` again"
    if not path.is_file():
        raise UserError(f"{path} is missing; {again}")
    card = read_card(path)
    if sha256(path) != card.sha256:
        raise UserError(f"{path} is not what was written at {card.imported}, its sha256 differs; {again}")
    if (weight := weights.get(name)) is None:
        raise UserError(f"{path} is in no paper's weights.toml; move it elsewhere and use it by its path")
    if weight.sha256 not in (None, card.source_sha256):
        raise UserError(f"{path} came from a file with sha256 {card.source_sha256}, not the lock file's; {again}")
    state = read_weights(path)
    create = arguments_of(weight, state)
    if (card.model, card.create) != (weight.model, create):
        there, here = f"{card.model} {card.create}", f"{weight.model} {create}"
        raise UserError(f"{path} was imported for {there}, weights.toml says {here}; {again}")
    check_fit(state, card.model, create, path)
    return trust(weight)


def trust(weight: Weight) -> str:
    """In words, what the hash of stored weights was compared with."""
    return "verified: equals the lock file" if weight.sha256 else "unverified: hash recorded at first import"


def names_in_store() -> list[str]:
    """Names of all weights and cards in the store."""
    folder = store_folder()
    return sorted({path.stem for pattern in ("*.safetensors", "*.json") for path in folder.glob(pattern)})


def check_all(names: Iterable[str], weights: Mapping[str, Weight]) -> None:
    """`check` each of `names` and print a line for it.

    Raises:
        UserError: at least one has a problem; the lines say which.
    """
    names, bad = list(names), 0
    for name in names:
        try:
            print(f"{name}: {check(name, weights)}")
        except UserError as error:
            bad += 1
            print(f"{name}: PROBLEM: {error}")
    print(f"{len(names)} weights in {store_folder()}, {bad} with problems")
    if bad:
        raise UserError(f"{bad} of {len(names)} weights have problems; the lines above say what to do")
