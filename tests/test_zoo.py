"""The zoo as ``headwire models`` shows it."""

import json

import pytest

from codec.errors import UsageError
from codec.face_model import FaceModel
from models import zoo
from models.generator import Generator

FIELDS = {"name", "parameters", "gmac", "weights", "bytes", "sha256", "licence", "provenance"}


def test_the_list_has_the_documented_fields():
    listed = zoo.models()
    assert [row["name"] for row in listed] == [*zoo.ZOO, *zoo.OWN, *(net.name for net in zoo.NETS)]
    for row in json.loads(json.dumps(listed)):
        assert set(row) == FIELDS
        assert (row["weights"] is None) == (row["sha256"] is None)
        assert row["licence"]
        assert row["provenance"]


def test_every_model_can_be_made():
    for name in zoo.ZOO:
        generator = zoo.create(name, FaceModel.load())
        assert isinstance(generator, Generator)
        assert generator.name == name


def test_auto_gives_a_model_of_the_zoo_and_a_probe_a_time():
    generator = zoo.create("auto", FaceModel.load())
    assert generator.name in zoo.ZOO
    assert zoo.probe(generator, seconds=0.05) > 0


def test_an_unknown_model_is_a_users_mistake():
    with pytest.raises(UsageError, match="warp"):
        zoo.create("wrap", FaceModel.load())


@pytest.mark.parametrize("name", list(zoo.OWN))
def test_a_network_that_its_user_trains_says_how(name):
    if (zoo.WEIGHTS / str(zoo.OWN[name].weights)).exists():
        pytest.skip("these weights are here")
    with pytest.raises(UsageError, match=f"train {name}"):
        zoo.create(name, FaceModel.load())


def test_figures_of_the_zoo_are_the_networks_own():
    from models import headgan

    config = headgan.HeadGANConfig(audio=headgan.AUDIO)
    assert zoo.OWN["headgan"].parameters == headgan.parameters(config)
    assert zoo.OWN["headgan"].gmac == pytest.approx(headgan.gmac(config), abs=0.01)
    small = headgan.HeadGANConfig(0.25)
    assert zoo.OWN["headgan-small"].parameters == headgan.parameters(small)
    assert zoo.OWN["headgan-small"].gmac == pytest.approx(headgan.gmac(small), abs=0.01)
    characters = pytest.importorskip("training.characters")
    assert zoo.NETS[0].parameters == sum(p.numel() for p in characters.CharacterNet().parameters())
