"""The command line: spellings, what `--tiny` and settings files change, and what is refused."""

from pathlib import Path

import pytest

from common.errors import UserError
from common.training import Flags


def parse(*arguments, without=(), own=(), **settings):
    flags = Flags("A script.")
    for spellings, kind in own:
        flags.option(*spellings, **kind)
    flags.common(*without)
    return flags.parse(arguments, **settings)


@pytest.mark.parametrize(
    ("arguments", "expected"), [([], None), (["--resume"], True), (["--resume", "a/b.pt"], Path("a/b.pt"))]
)
def test_resume_takes_no_path_or_one(arguments, expected):
    assert parse(*arguments).resume == expected


@pytest.mark.parametrize("spelling", ["--local-rank", "--local_rank"])
def test_both_spellings_of_the_local_rank_are_accepted(spelling):
    assert parse(f"{spelling}=3").local_rank == 3


@pytest.mark.parametrize("spelling", ["--eval", "--test-only"])
def test_both_spellings_of_evaluation_are_accepted(spelling):
    assert parse(spelling).eval


def test_mixed_precision_can_be_switched_off():
    assert not parse("--amp", "--no-amp").amp


def test_a_script_keeps_its_own_spelling_of_a_common_flag():
    own = [(["-N", "--epoch", "--epochs"], {"dest": "epochs", "type": int, "default": 200})]
    assert parse("-N", "7", own=own).epochs == 7


def test_declaring_one_spelling_keeps_the_other():
    own = [(["--local-rank"], {"dest": "local_rank", "type": int})]
    assert parse("--local_rank=2", own=own).local_rank == 2


@pytest.mark.parametrize("spelling", ["-b", "--batch-size", "--batch_size"])
def test_a_flag_has_its_synonyms(spelling):
    assert parse(spelling, "3", own=[(["-b"], {"dest": "b", "type": int})]).b == 3


def test_a_synonym_gives_way_to_a_flag_of_the_script():
    own = [(["-b"], {"dest": "b", "type": int}), (["--batch-size"], {"dest": "other"})]
    args = parse("-b", "3", "--batch_size", "x", own=own)
    assert (args.b, args.other) == (3, "x")


def test_a_flag_that_is_left_out_is_unknown(capsys):
    with pytest.raises(SystemExit):
        parse("--resume", without=["--resume"])
    assert "unrecognized arguments: --resume" in capsys.readouterr().err


def test_tiny_changes_defaults_and_the_command_line_wins():
    own = [(["--width"], {"type": float, "default": 1.0}), (["--T"], {"type": int, "default": 4})]
    args = parse("--tiny", "--T", "3", own=own, tiny={"width": 0.5, "T": 2})
    assert (args.width, args.T) == (0.5, 3)


def test_tiny_wins_over_a_settings_file(tmp_path):
    (tmp_path / "own.yml").write_text("width: 0.7\nepochs: 9\ncolour: red\n")
    own = [(["--width"], {"type": float, "default": 1.0})]
    args = parse("--tiny", own=own, tiny={"width": 0.5}, config=tmp_path / "own.yml")
    assert (args.width, args.epochs, args.ignored) == (0.5, 9, ["colour"])


def test_what_has_no_effect_is_accepted_with_and_without_values_and_noted():
    flags = Flags("A script.")
    flags.without_effect("--dist-url", "--resplit", "--tb")
    flags.common()
    assert flags.parse(["--dist_url", "a", "--resplit"]).ignored == ["dist_url", "resplit"]


def test_a_number_below_its_minimum_is_refused():
    with pytest.raises(UserError, match="-b 0: must be at least 1"):
        parse("-b", "0", own=[(["-b"], {"type": int, "minimum": 1})])


@pytest.mark.parametrize("source", ["command line", "settings file"])
def test_an_empty_path_is_none_or_the_default(tmp_path, source):
    given = {"resume": "", "data-path": "", "output-dir": ""}
    words = [word for flag, value in given.items() for word in (f"--{flag}", value)]
    (tmp_path / "own.yml").write_text("".join(f"{flag.replace('-', '_')}: ''\n" for flag in given))
    config = tmp_path / "own.yml"
    args = parse(*words) if source == "command line" else parse(config=config)
    assert (args.resume, args.data_path, args.output_dir) == (None, None, Path("output"))


def test_help_names_what_has_no_effect():
    flags = Flags("A script.")
    flags.without_effect("--dist-url", "--tb")
    assert "without effect here: --dist-url, --tb" in " ".join(flags.format_help().split())
