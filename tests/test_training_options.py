"""A training's command line: made from its settings, one sentence for a mistake."""

import json
from dataclasses import dataclass

import pytest

from codec.errors import UsageError
from training.options import command, parsed


@dataclass(frozen=True)
class Net:
    width: int = 8
    name: str | None = None
    layers: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Loop:
    steps: int = 10
    compile: bool = False


def test_options_are_the_fields(capsys: pytest.CaptureFixture[str]):
    def train(net: Net, loop: Loop) -> dict[str, object]:
        return {"width": net.width, "steps": loop.steps, "compile": loop.compile}

    command("Train.", (Net, Loop), train, ["--width", "9", "--compile"], steps=30)
    assert json.loads(capsys.readouterr().out) == {"width": 9, "steps": 30, "compile": True}


def test_what_goes_wrong_is_a_sentence():
    def train(net: Net, loop: Loop) -> None:
        raise UsageError("there are no clips: fetch them")

    with pytest.raises(SystemExit) as ended:
        command("Train.", (Net, Loop), train, [])
    assert ended.value.code == "there are no clips: fetch them"


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parsed("Train.", (Net, Loop), ["--layers", "3"])
    assert "--layers" in capsys.readouterr().err
