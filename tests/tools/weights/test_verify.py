"""The check of the whole store."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from common.errors import UserError
from common.files import sha256
from tests.programs import run_program
from tests.tools.weights.test_fetch import known_entry
from tools import verify_weights
from tools.weights.files import read_card

ROOT = Path(__file__).parents[3]


@pytest.fixture
def stored(tool, home, tmp_path, published):
    """The store with `small` in it; returns the file."""
    path = tmp_path / "best.pth"
    path.write_bytes(published)
    tool("import", "small", path)
    return home / "small.safetensors"


def problem(capsys):
    with pytest.raises(UserError, match="1 of 1 weights have problems; the lines above say what to do"):
        verify_weights.main([])
    return capsys.readouterr().out


def test_weights_without_a_known_hash_are_called_unverified(stored, capsys):
    verify_weights.main([])
    assert "small: unverified: hash recorded at first import" in capsys.readouterr().out


def test_weights_with_the_lock_files_hash_are_called_verified(tool, lock, tmp_path, published, capsys):
    lock(known_entry(published))
    (tmp_path / "best.pth").write_bytes(published)
    tool("import", "known", tmp_path / "best.pth")
    verify_weights.main(["known"])
    assert "known: verified: equals the lock file" in capsys.readouterr().out


def test_the_verb_verify_does_the_same(tool, stored, capsys):
    tool("verify", "small")
    assert "small: unverified: hash recorded" in capsys.readouterr().out


def test_an_empty_store_has_no_problems(lock, home, capsys):
    verify_weights.main([])
    assert f"0 weights in {home}, 0 with problems" in capsys.readouterr().out


def test_a_changed_byte_is_found(stored, capsys):
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    assert "small: PROBLEM: " in (out := problem(capsys))
    assert "its sha256 differs; run `python tools/fetch_weights.py fetch small`" in out


def test_a_missing_file_is_found(stored, capsys):
    stored.unlink()
    assert f"{stored} is missing" in problem(capsys)


@pytest.mark.parametrize("content", [None, "{", '{"name": "small"}'], ids=["absent", "no json", "incomplete"])
def test_a_missing_or_damaged_card_is_found(stored, capsys, content):
    card = stored.with_suffix(".json")
    card.unlink()
    if content:
        card.write_text(content)
    assert f"{card} is missing or damaged" in problem(capsys)


def test_weights_of_an_unknown_name_are_found(stored, capsys):
    for path in (stored, stored.with_suffix(".json")):
        path.rename(path.with_stem("unknown"))
    assert "is in no paper's weights.toml; move it elsewhere" in problem(capsys)


def test_a_hash_that_the_lock_file_has_learnt_since_is_compared(stored, lock, capsys):
    lock(known_entry(b"what the authors published"))
    for path in (stored, stored.with_suffix(".json")):
        path.rename(path.with_stem("known"))
    assert "not the lock file's; run" in problem(capsys)


def test_a_model_that_the_lock_file_has_changed_since_is_found(stored, lock, capsys):
    lock()
    card = stored.with_suffix(".json")
    card.write_text(card.read_text().replace('"spikingformer_cifar_4_384"', '"spikingformer_8_768"'))
    assert "was imported for spikingformer_8_768" in problem(capsys)


def test_keys_are_compared_with_the_network_again(stored, capsys):
    state = safetensors.torch.load_file(stored)
    state["head.bias"] = torch.zeros(3)
    safetensors.torch.save_file(state, stored)
    card = stored.with_suffix(".json")
    card.write_text(card.read_text().replace(read_card(stored).sha256, sha256(stored)))
    assert "does not fit spikingformer_cifar_4_384" in problem(capsys)


def test_all_problems_are_listed_before_the_exit(stored, capsys):
    with pytest.raises(UserError, match="2 of 3 weights have problems"):
        verify_weights.main(["other", "small", "never"])
    assert capsys.readouterr().out.count("PROBLEM") == 2


def test_as_a_program_it_exits_with_2_and_one_line(home):
    done = run_program("tools/verify_weights.py", "sma_vgg8_dvs128", cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: 1 of 1 weights have problems; the lines above say what to do"
