"""Downloads: the real client against a server that plays Google Drive."""

import hashlib
import io
import json
import os
import resource
import sys
import tarfile
import zipfile
from contextlib import contextmanager

import pytest
import safetensors.torch
import torch

from common.errors import UserError
from tests.tools.weights.conftest import NETWORK, saved
from tests.tools.weights.google_drive import QUOTA, SIGN_IN, File
from tools.weights import store


@contextmanager
def file_size_limit(size):
    """What a full disk is to a writing program: no file can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def stored_files(home):
    return sorted(path.name for path in home.iterdir() if path.is_file()) if home.exists() else []


def assert_stored(home, name, model):
    state = safetensors.torch.load_file(home / f"{name}.safetensors")
    expected = model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) and state[key].dtype == value.dtype for key, value in expected.items())


@pytest.mark.parametrize("confirm", [False, True], ids=["direct", "confirm page"])
def test_a_file_is_downloaded_checked_and_stored(drive, tool, home, trained, published, confirm):
    drive.files["id-small"] = File(published, confirm=confirm)
    tool("fetch", "small")
    assert_stored(home, "small", trained)


def test_the_card_tells_network_origin_and_hash(drive, tool, home, published):
    drive.files["id-small"] = File(published, name="epoch_3.pth")
    tool("fetch", "small")
    card = json.loads((home / "small.json").read_text())
    assert (card["model"], card["create"]["embed_dim"]) == ("spikingformer_cifar_4_384", 32)
    assert (card["source"], card["source_file"]) == ("https://drive.google.com/file/d/id-small/view", "epoch_3.pth")
    assert card["source_sha256"] == hashlib.sha256(published).hexdigest()
    assert card["sha256"] == hashlib.sha256((home / "small.safetensors").read_bytes()).hexdigest()


def test_the_hash_of_the_first_import_is_printed(drive, tool, published, capsys):
    drive.files["id-small"] = File(published)
    tool("fetch", "small")
    digest = hashlib.sha256(published).hexdigest()
    assert f"unverified: hash recorded at first import: sha256 of checkpoint.pth is {digest}" in capsys.readouterr().out


def test_progress_is_shown(drive, tool, published, capsys):
    drive.files["id-small"] = File(published)
    tool("fetch", "small")
    assert "100%" in capsys.readouterr().err


def test_a_download_is_removed_once_it_is_stored(drive, tool, published):
    drive.files["id-small"] = File(published)
    tool("fetch", "small")
    assert list(store.drop_folder("small").iterdir()) == []


def test_what_is_there_is_not_fetched_again(drive, tool, published, capsys):
    drive.files["id-small"] = File(published)
    tool("fetch", "small")
    tool("fetch", "small")
    assert len(drive.ranges) == 1
    assert "small is in the store" in capsys.readouterr().out


def test_damaged_weights_are_fetched_again(drive, tool, home, trained, published):
    drive.files["id-small"] = File(published)
    tool("fetch", "small")
    (home / "small.safetensors").write_bytes(b"damaged")
    tool("fetch", "small")
    assert_stored(home, "small", trained)


def test_a_lost_connection_is_taken_up_where_it_broke(drive, tool, home, trained, published):
    drive.files["id-small"] = File(published, cut=1_200_000)
    tool("fetch", "small", "--retries", 1)
    assert_stored(home, "small", trained)
    assert drive.ranges == [None, "bytes=1048576-"]


def test_an_interrupted_download_goes_on_in_the_next_call(drive, tool, home, trained, published):
    drive.files["id-small"] = File(published, cut=1_200_000)
    with pytest.raises(UserError, match=r"Download is incomplete.*Run the same command to go on from there"):
        tool("fetch", "small", "--retries", 0)
    tool("fetch", "small", "--retries", 0)
    assert_stored(home, "small", trained)
    assert drive.ranges[-1] == "bytes=1048576-"


@pytest.mark.parametrize(
    "file, message",
    [
        (File(page=QUOTA), r"quota for https://\S*id-small/view is used up.*wait up to 24 hours.*`import NAME PATH`"),
        (File(page=SIGN_IN), r"sends a page in place of the file \S*id-small/view.*in a browser.*`import NAME PATH`"),
        (None, r"it may be removed or not public; open the link in a browser"),
        (File(SIGN_IN.encode()), r"checkpoint.pth is a web page, not weights"),
        (File(b"\x00garbage" * 9), r"checkpoint.pth cannot be read as a torch or safetensors file"),
        (File(saved([1, 2])), r"checkpoint.pth holds no weights"),
    ],
    ids=["quota page", "other page", "gone", "page named as the file", "noise", "no weights"],
)
def test_what_google_sends_instead_is_explained(drive, tool, home, file, message):
    if file:
        drive.files["id-small"] = file
    with pytest.raises(UserError, match=message):
        tool("fetch", "small")
    assert stored_files(home) == []


def test_a_server_that_cannot_be_reached_is_told(drive, tool):
    drive.shutdown()
    drive.server_close()
    with pytest.raises(UserError, match=r"no network to Google Drive \(ConnectionError\): check the connection"):
        tool("fetch", "small", "--retries", 0)


def test_the_lock_files_hash_is_enforced(drive, tool, lock, home, published):
    lock(known_entry(published[:-1]))
    drive.files["id-known"] = File(published)
    with pytest.raises(UserError, match=r"has sha256 \w{64}, weights.toml says \w{64}: damaged or another file"):
        tool("fetch", "known")
    assert stored_files(home) == []


def test_the_lock_files_size_is_enforced(drive, tool, lock, published):
    lock(known_entry(published) + "size = 12\n")
    drive.files["id-known"] = File(published)
    with pytest.raises(UserError, match=rf"has {len(published)} bytes, known has 12: incomplete or another file"):
        tool("fetch", "known")


def test_a_file_that_equals_the_lock_file_is_verified(drive, tool, lock, published, capsys):
    lock(known_entry(published))
    drive.files["id-known"] = File(published)
    tool("fetch", "known")
    assert "verified: equals the lock file" in capsys.readouterr().out


def known_entry(content):
    digest = hashlib.sha256(content).hexdigest()
    return f'[spikingformer.known]\n{NETWORK}\nstatus = "verified"\ndrive = "id-known"\nsha256 = "{digest}"\n'


class Code:
    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("kind", ["os.mkdir", "eval"])
def test_code_in_a_download_is_refused_and_not_run(drive, tool, home, tmp_path, kind):
    trace = tmp_path / "trace"
    code = {"os.mkdir": Code(os.mkdir, str(trace)), "eval": Code(eval, f"__import__('os').mkdir({str(trace)!r})")}
    drive.files["id-small"] = File(saved({"model": code[kind]}))
    with pytest.raises(UserError, match=r"checkpoint.pth holds code \(.*(mkdir|eval)\), which is never run here"):
        tool("fetch", "small")
    assert not trace.exists()
    assert stored_files(home) == []


def zipped(names, content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        for name in names:
            bundle.writestr(name, content)
    return stream.getvalue()


def tarred(names, content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as bundle:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return stream.getvalue()


ARCHIVES = pytest.mark.parametrize(
    "pack, name", [(zipped, "weights.zip"), (tarred, "weights.tar.gz")], ids=["zip", "tar"]
)


@ARCHIVES
def test_a_checkpoint_in_an_archive_is_found(drive, tool, home, trained, published, pack, name):
    drive.files["id-small"] = File(pack(["run/README.md", "run/best.pth"], published), name=name)
    tool("fetch", "small")
    assert_stored(home, "small", trained)
    assert stored_files(home) == ["small.json", "small.safetensors"]


@ARCHIVES
@pytest.mark.parametrize("member", ["../../evil.pth", "/tmp/evil.pth"])
def test_an_archive_that_points_outside_is_refused(drive, tool, home, published, pack, name, member):
    drive.files["id-small"] = File(pack(["best.pth", member], published), name=name)
    with pytest.raises(UserError, match=rf"{name}: member '{member}' points outside the archive; refused"):
        tool("fetch", "small")
    assert [path for path in home.parent.rglob("*") if path.suffix in (".pth", ".safetensors")] == []


@ARCHIVES
def test_an_archive_of_several_checkpoints_is_refused(drive, tool, published, pack, name):
    drive.files["id-small"] = File(pack(["a.pth", "b.pth"], published), name=name)
    with pytest.raises(UserError, match=r"expected one weights file .*found a.pth, b.pth; unpack it"):
        tool("fetch", "small")


def test_weights_of_another_network_are_compared_readably(drive, tool, home, trained, capsys):
    state = trained.state_dict()
    state["extra.bias"] = torch.zeros(3)
    del state["head.bias"]
    state["head.weight"] = torch.zeros(100, 32)
    drive.files["id-small"] = File(saved(state))
    with pytest.raises(UserError, match=r"does not fit spikingformer_cifar_4_384\(embed_dim=32, .*: 3 differences of"):
        tool("fetch", "small")
    lines = capsys.readouterr().out.splitlines()
    assert "missing     head.bias [10]" in lines
    assert "unexpected  extra.bias [3]" in lines
    assert "shape       head.weight [100, 32], the network has [10, 32]" in lines
    assert stored_files(home) == []


def test_a_long_comparison_is_cut(drive, tool, capsys):
    drive.files["id-small"] = File(saved({"fc.weight": torch.zeros(2)}))
    with pytest.raises(UserError):
        tool("fetch", "small")
    out = capsys.readouterr().out
    assert out.count("missing ") == 20 and " more\n" in out


def test_a_full_disk_is_named_and_the_download_goes_on_later(drive, tool, home, trained, published):
    drive.files["id-small"] = File(published)
    folder = store.drop_folder("small")
    with (
        file_size_limit(600_000),
        pytest.raises(UserError, match=rf"cannot write to {folder}: File too large; .*TORCH_HOME"),
    ):
        tool("fetch", "small")
    assert stored_files(home) == []
    tool("fetch", "small")
    assert drive.ranges[-1].startswith("bytes=")
    assert_stored(home, "small", trained)


def test_a_disk_that_fills_during_the_import_leaves_the_store_as_it_was(drive, tool, home, trained, published):
    drive.files["id-small"] = File(published)
    tool("fetch", "small")
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    folder = store.drop_folder("other")
    folder.mkdir()
    (folder / "best.pth").write_bytes(published)
    message = rf"cannot write {home}/other.safetensors: File too large; .*TORCH_HOME moves the store"
    with file_size_limit(50_000), pytest.raises(UserError, match=message):
        tool("fetch", "other")
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == before
    tool("fetch", "other")
    assert_stored(home, "other", trained)


def test_a_download_by_hand_is_explained(tool, home, capsys):
    with pytest.raises(UserError, match=r"^download it from https://pan.baidu.com/s/1abc code wxyz, then `import"):
        tool("fetch", "by_hand")
    out = capsys.readouterr().out
    assert "open https://pan.baidu.com/s/1abc, code wxyz" in out
    assert "download best.pth" in out
    assert "import by_hand PATH" in out
    assert str(home / "downloads" / "by_hand") in out


def test_a_file_in_the_expected_place_is_imported(tool, home, trained, published):
    folder = store.drop_folder("by_hand")
    folder.mkdir(parents=True)
    (folder / "best.pth").write_bytes(published)
    tool("fetch", "by_hand")
    assert_stored(home, "by_hand", trained)
    assert (folder / "best.pth").exists(), "a file that was hard to get is left alone"


def test_several_files_in_the_expected_place_are_refused(tool):
    folder = store.drop_folder("by_hand")
    folder.mkdir(parents=True)
    for name in ("a.pth", "b.pth", "c.pth.crdownload"):
        (folder / name).touch()
    with pytest.raises(UserError, match=rf"{folder} holds a.pth, b.pth; leave only the file of by_hand"):
        tool("fetch", "by_hand")


def test_unpublished_weights_say_so(tool):
    with pytest.raises(UserError, match=r"never was never published; train it as spikingformer/README.md says"):
        tool("fetch", "never")


def test_all_fetches_on_after_a_failure_and_ends_with_a_table(drive, tool, home, trained, published, capsys):
    drive.files["id-small"] = File(page=QUOTA)
    drive.files["id-other"] = File(published)
    with pytest.raises(UserError, match="1 of 3 are not in the store: small; the table"):
        tool("fetch", "--all")
    assert_stored(home, "other", trained)
    outcomes = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[-4:]]
    assert outcomes == [["name", "outcome"], ["small", "failed"], ["other", "fetched"], ["by_hand", "manual"]]


def test_all_succeeds_with_downloads_by_hand_left(drive, tool, published):
    drive.files["id-small"] = drive.files["id-other"] = File(published)
    tool("fetch", "--all")


def test_several_failures_are_counted(drive, tool):
    with pytest.raises(UserError, match="2 of 3 are not in the store: small, other; the table says what to do"):
        tool("fetch", "--all")


@pytest.mark.parametrize("arguments", [[], ["--all", "small"]], ids=["neither", "both"])
def test_names_or_all(tool, arguments):
    with pytest.raises(UserError, match="give the names to fetch, or --all"):
        tool("fetch", *arguments)


def test_a_negative_number_of_retries_is_refused(tool):
    with pytest.raises(UserError, match="--retries -1: expected 0 or more"):
        tool("fetch", "small", "--retries", -1)


def test_a_missing_client_is_told(tool, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(UserError, match=r'needs gdown, .*pip install "spiking-papers\[weights\]" or .*"gdown>=6"'):
        tool("fetch", "small")


def test_an_old_client_is_told(tool, monkeypatch):
    monkeypatch.setattr("gdown.__version__", "5.2.0")
    with pytest.raises(UserError, match=r"needs gdown 6, here is 5.2.0; run pip install"):
        tool("fetch", "small")
