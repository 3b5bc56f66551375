"""``light`` at run time: its weights file, its network in OpenVINO, what it does to a picture, and when it rests."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from codec.errors import HeadwireError
from codec.face_model import FaceModel
from codec.motion import no_motion
from codec.parameters import SIZE, Camera, FrameParameters, ReferenceFrame
from codec.raster import rasterise
from models.generator import DrivingFrame
from models.light import FIRST_PAUSE, LATELY, LONGEST_PAUSE, WEIGHTS, Light, LightPainter, Pace
from models.light_graph import FORMAT, gmac, read_weights
from models.light_inputs import CELLS, COLOURS, GEOMETRY, Geometry, between, in_cells
from models.warp import Warp

MODEL = FaceModel.load()
IDENTITY = np.zeros(MODEL.identities, np.float32)
RNG = np.random.default_rng(3)
PHOTO = RNG.integers(0, 256, (SIZE // 8, SIZE // 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
WIDTH = 16


def tensors(heads: float) -> dict[str, np.ndarray]:
    """A tiny network; heads: scale of the last layers' weights."""
    shapes = {"stem": (WIDTH, COLOURS + GEOMETRY, 3), "down": (WIDTH, WIDTH, 3), "up": (4 * WIDTH, WIDTH, 1)}
    shapes |= {"deeper": (WIDTH, WIDTH, 3), "rise": (4 * WIDTH, WIDTH, 1)}
    for place in ("before", "middle", "bottom", "late", "after"):
        shapes |= {f"{place}.0.{name}": (WIDTH, WIDTH, 3) for name in ("first", "second")}
    shapes |= {"colour": (COLOURS, WIDTH, 3), "flow": (2, WIDTH, 3)}
    rng = np.random.default_rng(1)
    out = {}
    for name, (to, of, side) in shapes.items():
        scale = heads if name in ("colour", "flow") else 0.5
        out[f"{name}.weight"] = (scale * rng.standard_normal((to, of, side, side)) / (side * of**0.5)).astype(
            np.float16
        )
        out[f"{name}.bias"] = (0.1 * scale * rng.standard_normal(to)).astype(np.float16)
    return out


def weights_file(path: Path, heads: float = 0.0, form: str = FORMAT) -> Path:
    """As the safetensors format has it: length, header, data."""
    head: dict[str, object] = {"__metadata__": {"format": form, "provenance": "{}"}}
    data = b""
    for name, value in tensors(heads).items():
        raw = value.tobytes()
        head[name] = {"dtype": "F16", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def parameters(yaw: float = 0.0, x: float = 128.0) -> FrameParameters:
    camera = Camera(90.0, np.array((0.0, yaw, 0.0), np.float32), np.array((x, 130.0, 0.0), np.float32))
    return FrameParameters(np.zeros(28, np.float32), camera)


def driving(of: FrameParameters) -> DrivingFrame:
    vertices = MODEL.project(MODEL.shape(IDENTITY, of.expression), of.camera)
    return DrivingFrame(of, vertices, rasterise(vertices, MODEL.triangles))


def ready(path: Path) -> tuple[Light, Warp]:
    both = Light(MODEL, path, "f32"), Warp(MODEL)
    for generator in both:
        generator.prepare(ReferenceFrame(0, PHOTO, parameters(), IDENTITY))
    return both


def test_before_it_has_learned_anything_it_paints_what_warp_paints(tmp_path):
    light, warp = ready(weights_file(tmp_path / "w"))
    frame = driving(parameters(0.2, 133.0))
    assert (light.generate(frame) == warp.generate(frame)).all()


def test_it_changes_the_picture_the_same_way_every_time_and_heeds_motion(tmp_path):
    light, warp = ready(weights_file(tmp_path / "w", 0.5))
    frame = driving(parameters(0.2, 133.0))
    first = light.generate(frame)
    assert (first != warp.generate(frame)).mean() > 0.3
    assert (light.generate(frame) == first).all()
    still = no_motion(0, 0)
    moved = replace(still, control=still.control + np.int32(6 * 256))
    assert (light.generate(replace(frame, motion=moved)) != first).mean() > 0.3


def test_a_mesh_beyond_all_bounds_is_painted_as_warp_does(tmp_path):
    light, warp = ready(weights_file(tmp_path / "w", 0.5))
    frame = driving(parameters())
    for value in (1e9, np.nan):
        wild = np.full_like(frame.vertices, value)
        assert (light.generate(replace(frame, vertices=wild)) == warp.generate(replace(frame, vertices=wild))).all()


def test_the_graph_agrees_with_torch_on_a_picture(tmp_path):
    torch = pytest.importorskip("torch")
    from training.light_network import LightConfig, LightNet, painted
    from training.light_network import in_cells as cells_of

    path = weights_file(tmp_path / "w", 0.5)
    net = LightNet(LightConfig(WIDTH, WIDTH, 1, 1, WIDTH, 1, 1))
    net.load_state_dict({name: torch.from_numpy(value) for name, value in read_weights(path)[0].items()})
    geometry = RNG.random((GEOMETRY, CELLS, CELLS), np.float32)
    x = torch.from_numpy(PHOTO).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        out = painted(x, *net(cells_of(x), torch.from_numpy(geometry)[None]))
    wanted = ((out[0] + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
    shown = LightPainter(path, "f32").paint(PHOTO, geometry)
    difference = np.abs(shown - wanted)
    # cv2 looks up at 1/32 px, which edges of 255 levels make visible.
    assert difference.mean() < 0.6
    assert np.percentile(difference, 99) < 5
    assert np.abs(wanted - PHOTO).mean() > 5


def test_the_shipped_weights_paint_the_same_in_8_bits():
    notes = json.loads(read_weights(WEIGHTS)[1]["provenance"])
    assert "non-commercial" in notes["licence"]
    frame = driving(parameters(0.1, 131.0))
    # The ranges of 8 bits are those of photographs, which are no squares of full contrast.
    photo = cv2.GaussianBlur(PHOTO, (0, 0), 6).astype(np.uint8)
    pictures = []
    for precision in ("f32", "int8"):
        light = Light(MODEL, precision=precision)
        light.prepare(ReferenceFrame(0, photo, parameters(), IDENTITY))
        pictures.append(light.generate(frame).astype(int))
    difference = np.abs(pictures[0] - pictures[1])
    assert 0 < difference.mean() < 0.5


def test_pictures_in_cells_keep_every_pixel():
    cells = in_cells(PHOTO)
    assert cells.shape == (COLOURS, CELLS, CELLS)
    assert (cells[12 * 2 + 3 * 1 + 2] == PHOTO[2::4, 1::4, 2]).all()


def test_geometry_says_where_the_mesh_is_and_how_it_moved():
    geometry = Geometry(MODEL)
    there, here = driving(parameters()), driving(parameters(x=136.0))
    control = np.full((16, 16, 2), (8.0, -4.0), np.float32)
    out = geometry(here.visibility, here.vertices, there.vertices, control)
    assert out.shape == (GEOMETRY, CELLS, CELLS)
    seen = here.visibility.mask.reshape(CELLS, 4, CELLS, 4).mean((1, 3))
    assert np.allclose(out[3], seen, atol=1e-5)
    whole = seen == 1
    assert np.allclose(out[6][whole], 8 / 32, atol=1e-3)
    assert np.allclose(out[7][whole], 0, atol=1e-3)
    assert np.allclose(out[4][whole], out[5][whole], atol=1e-3)
    assert out[4][whole].mean() > 0.5
    assert (out[:10, seen == 0] == 0).all()
    assert np.allclose(out[10], 0.5)
    assert np.allclose(out[11], -0.25)
    nowhere = geometry(here.visibility, here.vertices, there.vertices, None)
    assert (nowhere[10:] == 0).all()
    mouth = np.argwhere(out[8] > 0.5).mean(0) * 4 if (out[8] > 0.5).any() else None
    lips = here.vertices[[13, 14], :2].mean(0)
    assert mouth is None or np.hypot(mouth[1] - lips[0], mouth[0] - lips[1]) < 12


def test_control_points_lie_at_the_middles_of_their_cells():
    control = np.zeros((16, 16, 2), np.float32)
    control[..., 0] = np.arange(16)
    dense = between(control)
    assert np.allclose(dense[0, 10, 2:62], (np.arange(2, 62) + 0.5) / 4 - 0.5, atol=1e-4)


@pytest.mark.parametrize("cut", [0, 5, 12, 200, -100])
def test_a_damaged_file_is_said_to_be_one(tmp_path, cut):
    path = weights_file(tmp_path / "w")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(HeadwireError, match="w "):
        read_weights(path)


def test_another_format_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(HeadwireError, match="format"):
        read_weights(weights_file(tmp_path / "w", form="headwire-headgan-1"))
    with pytest.raises(HeadwireError, match="cannot be read"):
        LightPainter(tmp_path / "none")


def test_arithmetic_is_counted(tmp_path):
    count = gmac(read_weights(weights_file(tmp_path / "w"))[0])
    fine = ((COLOURS + GEOMETRY) * WIDTH + 4 * WIDTH * WIDTH + (COLOURS + 2) * WIDTH) * 9 * CELLS**2
    coarse = (5 * WIDTH * WIDTH * 9 + 4 * WIDTH * WIDTH) * (CELLS // 2) ** 2
    deep = (3 * WIDTH * WIDTH * 9 + 4 * WIDTH * WIDTH) * (CELLS // 4) ** 2
    assert count == pytest.approx((fine + coarse + deep) / 1e9)


def test_without_a_budget_nothing_is_ever_left_out():
    pace = Pace(None)
    for _ in range(100):
        assert not pace.skip()
        pace.took(1e6)


def frames_until_it_rests(pace: Pace, ms: float, most: int = 100) -> int:
    for n in range(most):
        if pace.skip():
            return n
        pace.took(ms)
    return most


def test_too_slow_it_rests_and_rests_longer_each_time():
    pace = Pace(20.0)
    assert frames_until_it_rests(pace, 15.0) == 100
    pauses = []
    for _ in range(12):
        frames_until_it_rests(pace, 30.0)
        pause = 1
        while pace.skip():
            pause += 1
        pauses.append(pause)
        pace.took(30.0)
    assert pauses[0] == FIRST_PAUSE
    assert pauses[1] == 2 * FIRST_PAUSE
    assert max(pauses) == LONGEST_PAUSE


def test_a_single_slow_frame_does_no_harm():
    pace = Pace(20.0)
    for n in range(10 * LATELY):
        assert not pace.skip()
        pace.took(500.0 if n % LATELY == 0 else 15.0)


def test_in_a_call_that_is_too_slow_warp_stands_in(tmp_path):
    light, warp = ready(weights_file(tmp_path / "w", 0.5))
    frame = driving(parameters(0.1))
    light.keep_up(1e-6)
    pictures = [light.generate(frame) for _ in range(LATELY + 1)]
    assert light.resting
    plain = warp.generate(frame)
    assert (pictures[0] != plain).any()
    assert (pictures[-1] == plain).all()
    light.keep_up(None)
    assert (light.generate(frame) == pictures[0]).all()
