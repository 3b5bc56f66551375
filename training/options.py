"""Command-line options of a training, made from the fields of its settings."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from codec.errors import HeadwireError

_SIMPLE = (int, float, str, Path)


def add_options(parser: argparse.ArgumentParser, settings: type, **defaults: Any) -> None:
    """One option a field of a simple type (``bool`` as ``--x`` and ``--no-x``). defaults: other than the class' own."""
    hints = get_type_hints(settings)
    for field in fields(settings):
        kind = _simple(hints[field.name])
        if kind is None:
            continue
        default = defaults.get(field.name, field.default)
        option = "--" + field.name.replace("_", "-")
        said: dict[str, Any] = {"required": True} if default is MISSING else {"default": default}
        if kind is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, **said)
        else:
            parser.add_argument(option, type=kind, **said)


def settings_from(said: argparse.Namespace, settings: type) -> Any:
    """The settings that the options ask for."""
    return settings(**{f.name: getattr(said, f.name) for f in fields(settings) if hasattr(said, f.name)})


def parsed(description: str, kinds: Sequence[type], arguments: Sequence[str] | None, **defaults: Any) -> list[Any]:
    """Settings of several classes from one command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for kind in kinds:
        add_options(parser, kind, **defaults)
    said = parser.parse_args(arguments)
    return [settings_from(said, kind) for kind in kinds]


def command(
    description: str,
    kinds: tuple[type, type],
    train: Callable[[Any, Any], Any],
    arguments: Sequence[str] | None = None,
    **defaults: Any,
) -> None:
    """What ``python -m training.NAME`` does: settings of both kinds from the command line, ``train`` with them, its figures as JSON.

    Ends the process with one sentence for a HeadwireError.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings, loop = parsed(description, kinds, arguments, **defaults)
    try:
        print(json.dumps(train(settings, loop), indent=1))
    except HeadwireError as error:
        sys.exit(f"{error}")


def program(description: str, kind: type, work: Callable[[Any], Any], arguments: Sequence[str] | None = None) -> None:
    """``command`` for what is no training: settings of one kind from the command line, and what ``work`` returns, printed."""
    (settings,) = parsed(description, (kind,), arguments)
    try:
        print(work(settings))
    except HeadwireError as error:
        sys.exit(f"{error}")


def _simple(hint: Any) -> Any:
    """The type that an option is read as; None for what is no option."""
    if hint is bool or hint in _SIMPLE:
        return hint
    if get_origin(hint) in (Union, types.UnionType):
        inner = [x for x in get_args(hint) if x is not type(None)]
        return _simple(inner[0]) if len(inner) == 1 else None
    return None
