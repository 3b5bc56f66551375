"""With which packets the face goes out: beside a photo, under loss, on a spotless link."""

from codec.redundancy import SPOTLESS, Protection
from transport.face_rate import KNOWN_FOR, LET_GO, LOSS_REPORTS, FaceRate
from transport.feedback import LinkState
from transport.rate_control import LADDERS

RUNGS = [rung for rung in LADDERS["opus"] if rung.frame_rate == 25]


def state(
    time: float, loss: float = 0.0, queueing: float = 0.0, delivered: float = 11.8, floor: float = 0.0
) -> LinkState:
    return LinkState(time, loss, queueing, delivered, delivered, 0.1, floor)


def test_on_an_unknown_link_the_face_makes_room_for_a_photo_at_once():
    rate = FaceRate(RUNGS)
    rate.update(state(1.0))
    assert rate.choice == Protection("normal")
    assert rate.beside_photo(True, 2.0).rung == "low"
    assert rate.beside_photo(False, 2.0 + LET_GO / 2).rung == "low", "another message of the same photo may follow"
    assert rate.beside_photo(False, 2.1 + LET_GO).rung == "normal"


def test_a_link_that_is_known_to_be_wide_carries_both():
    rate = FaceRate(RUNGS)
    rate.update(state(1.0, floor=100.0))
    assert rate.beside_photo(True, 2.0).rung == "normal"
    assert rate.beside_photo(True, 2.0 + KNOWN_FOR).rung == "low", "that was long ago"


def test_a_link_that_is_known_to_be_narrow_gets_the_rung_that_leaves_room():
    rate = FaceRate(RUNGS[1:])
    rate.update(state(1.0, delivered=8.0, queueing=0.09))
    assert rate.beside_photo(True, 1.1).rung == "lowest"


def test_a_clean_link_beside_a_photo_says_nothing_of_a_dearer_rung():
    rate = FaceRate(RUNGS)
    rate.update(state(1.0, queueing=0.3, delivered=7.0))
    assert rate.controller.rung == 1
    for second in range(2, 40):
        rate.beside_photo(True, float(second))
        rate.update(state(float(second)))
    assert rate.controller.rung == 1


def test_loss_is_answered_and_a_spotless_link_is_spared():
    rate = FaceRate(RUNGS)
    for second in range(LOSS_REPORTS):
        rate.update(state(float(second)))
    assert rate.choice == SPOTLESS
    rate.update(state(10.0, loss=0.01))
    assert rate.choice == Protection("normal")
    for second in range(LOSS_REPORTS):
        rate.update(state(11.0 + second, loss=0.25))
    assert rate.choice.again == 3
