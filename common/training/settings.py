"""Settings files: YAML lines `flag: value` that stand for flags of a script."""

import argparse
from pathlib import Path

import yaml

from common.errors import UserError, reason_of


def read_settings(path: Path, parser: argparse.ArgumentParser) -> dict[str, object]:
    """The settings in a YAML file by attribute, converted as if their flags had been given; unknown keys as they are.

    Raises:
        UserError: there is no such file, it holds something else, or a value does not suit its flag.
    """
    try:
        settings = yaml.safe_load(path.read_text()) or {}
    except Exception as error:  # PyYAML raises what its converters of dates and numbers do, too
        raise UserError(
            f"{path}: cannot be read as YAML settings ({reason_of(error)}); give another file with -c"
        ) from error
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise UserError(f"{path}: expected lines `flag: value`, such as `epochs: 300`")
    actions = {
        flag.lstrip("-").replace("-", "_"): action for action in parser._actions for flag in action.option_strings
    }
    known = {
        actions[key].dest: _converted(path, actions[key], value) for key, value in settings.items() if key in actions
    }
    return known | {key: value for key, value in settings.items() if key not in actions}


def _converted(path: Path, action: argparse.Action, value: object) -> object:
    """A YAML value as the flag of `action` would read it: YAML takes `5e-4` for text."""
    if value is None or (isinstance(value, bool) and action.nargs in (0, "?")):
        return value
    convert = action.type or str
    number, wanted = len(value) if isinstance(value, list) else None, action.nargs
    one = wanted in (None, "?")
    if wanted != "*" and (one != (number is None) or (isinstance(wanted, int) and wanted != number)):
        raise UserError(f"{path}: {action.dest}: {value!r} does not suit {action.option_strings[-1]}; see --help")
    try:
        result = convert(str(value)) if number is None else [convert(str(each)) for each in value]
    except ValueError as error:
        raise UserError(f"{path}: {action.dest}: {value!r} is no {convert.__name__}") from error
    if action.choices is not None and result not in action.choices:
        raise UserError(f"{path}: {action.dest}: {value!r}; expected one of {', '.join(map(str, action.choices))}")
    return result
