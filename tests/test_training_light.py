"""What ``light`` learns from, its losses, and its training, export and figures, on made-up people."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec.errors import HeadwireError, UsageError  # noqa: E402
from codec.face_model import FaceModel  # noqa: E402
from codec.parameters import EXPRESSION, Camera  # noqa: E402
from codec.raster import rasterise  # noqa: E402
from models import zoo  # noqa: E402
from models.light import LightPainter  # noqa: E402
from models.light_graph import read_weights  # noqa: E402
from tests.training_helpers import face_picture  # noqa: E402
from tests.videos import write_video  # noqa: E402
from training import checkpoints, dataset, light, light_triples  # noqa: E402
from training.light_data import LightSource, Turn, mirrored, recoloured  # noqa: E402
from training.light_evaluation import load_run, measure, sheet, table, torch_paint  # noqa: E402
from training.light_export import LightExportSettings, export, export_net  # noqa: E402
from training.light_losses import PerceptualDistance, counts, edges, harm  # noqa: E402
from training.light_network import LightConfig, LightNet, from_cells, in_cells, painted  # noqa: E402
from training.light_triples import open_triples  # noqa: E402
from training.loop import LoopSettings  # noqa: E402

FRAMES = 14
TINY = light.LightSettings(
    fine=16, coarse=16, deep=16, blocks=1, middle=1, bottom=1, crop=64, vgg_side=32, vgg_crops=1, warm_up=2
)


def turning_head(seed: int) -> tuple[list[Any], Any]:
    """Pictures and landmarks of a head that turns."""
    model = FaceModel.load()
    rng = np.random.default_rng(seed)
    neutral = model.neutral(0.3 * rng.standard_normal(model.identities))
    points, pictures = [], []
    for t in range(FRAMES):
        expression = np.zeros(EXPRESSION, np.float32)
        expression[:4] = np.sin(np.arange(4) + 0.3 * t + seed)
        rotation = np.array((0.02 * t, 0.2 * np.sin(0.2 * t + seed), 0.0), np.float32)
        camera = Camera(75.0, rotation, np.array((126.0 + t / 2, 130.0, 0.0), np.float32))
        vertices = model.project(model.express(neutral, expression), camera)
        points.append(vertices)
        pictures.append(face_picture(model, vertices))
    return pictures, np.stack(points).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Triples of one person to learn from and one to judge by, made from videos as the program makes them."""
    root = tmp_path_factory.mktemp("light")
    cache = root / "cache"
    patch = pytest.MonkeyPatch()
    patch.setenv("HEADWIRE_CACHE", str(cache))
    (cache / "landmarks").mkdir(parents=True)
    for seed, split in ((1, "train"), (2, "validation")):
        pictures, points = turning_head(seed)
        path = write_video(root / f"person{seed}.mp4", pictures)
        np.savez(cache / "landmarks" / f"{path.stem}.npz", landmarks=points)
        clip = dataset.Clip(path, f"person{seed}", FRAMES / 25, False, "train", "made up")
        judged = split == "validation"
        assert not light_triples.make(clip, root / split / f"{path.stem}.0", 0, 3, judged)
    patch.undo()
    return root


def test_triples_are_what_the_viewer_saw_and_the_camera(folder):
    (t,) = open_triples(folder)
    assert t.identity == "person1"
    assert list(t.frames["number"]) == list(range(0, FRAMES, 3))
    assert t.shown.shape == t.truth.shape == (len(t.frames["number"]), 256, 256, 3)
    pictures, points = turning_head(1)
    for i, n in enumerate(t.frames["number"]):
        assert np.abs(t.truth[i].astype(int) - pictures[n]).mean() < 4  # the video's own coding
        assert np.abs(t.frames["vertices"][i, :, :2] - points[n, :, :2]).max() < 5
        assert np.abs(t.shown[i].astype(int) - t.truth[i]).mean() < 20
    (judged,) = open_triples(folder, "validation")
    assert list(judged.frames["kind"]) == [0, 1] * (len(judged.frames["kind"]) // 2)
    assert (judged.frames["control"][judged.frames["kind"] == 0] == 0).all()


def test_what_is_there_is_not_made_again(folder):
    before = (folder / "train/person1.0/shown.npy").stat().st_mtime_ns
    clip = dataset.Clip(folder / "gone.mp4", "person1", 1.0, False, "train", "made up")
    assert light_triples.make(clip, folder / "train/person1.0", 0, 3, False) == ""
    assert (folder / "train/person1.0/shown.npy").stat().st_mtime_ns == before


def test_nobody_held_out_is_learned_from(folder, tmp_path):
    somebody = next(iter(dataset.held_out()))
    target = tmp_path / "train" / "x.0"
    target.mkdir(parents=True)
    about = (folder / "train/person1.0/about.json").read_text()
    (target / "about.json").write_text(about.replace("person1", somebody))
    with pytest.raises(UsageError, match="held out"):
        open_triples(tmp_path)
    with pytest.raises(UsageError, match="nothing to learn from"):
        open_triples(tmp_path / "nowhere")


def test_a_sample_depends_on_seed_step_and_slot_alone(folder):
    source = LightSource(open_triples(folder), seed=4, crop=64, turned=0.5)
    one, two = source.batch(3, [0, 1]), LightSource(open_triples(folder), seed=4, crop=64, turned=0.5).batch(3, [1])
    assert torch.equal(one.shown[1], two.shown[0])
    assert torch.equal(one.geometry[1], two.geometry[0])
    assert one.shown.shape == (2, 3, 64, 64)
    assert one.geometry.shape == (2, 12, 16, 16)
    assert not torch.equal(one.shown[1], LightSource(open_triples(folder), seed=5, crop=64).batch(3, [1]).shown[0])


def test_a_run_may_begin_with_shipped_weights(tmp_path):
    net, other = LightNet(), LightNet()
    torch.nn.init.normal_(net.flow.weight)
    light.begin_with(other, export_net(net, tmp_path / "light.safetensors", {}))
    x = torch.rand(1, 48, 8, 8), torch.rand(1, 12, 8, 8)
    with torch.no_grad():
        ours, theirs = net(*x)[1], other(*x)[1]
    assert (ours - theirs).abs().max() < 0.02 * ours.abs().max()
    with pytest.raises(UsageError, match="other layers"):
        light.begin_with(LightNet(LightConfig(fine=32)), tmp_path / "light.safetensors")
    with pytest.raises(HeadwireError):
        light.begin_with(other, zoo.WEIGHTS / "characters.safetensors")


def test_kinds_of_weight_zero_are_not_drawn(folder):
    source = LightSource(open_triples(folder, "validation"), weights=(1, 0, 0), crop=64)
    assert all((source.batch(step, range(2)).geometry[:, 10:] == 0).all() for step in range(3))


def test_mirrored_geometry_is_the_geometry_of_the_mirrored_mesh(folder):
    (t,) = open_triples(folder)
    geometry = LightSource([t]).geometry(t, 2)
    back = mirrored(mirrored(geometry))
    assert np.allclose(back, geometry, atol=1e-6)
    turned = mirrored(geometry)
    assert np.allclose(turned[3], geometry[3][:, ::-1])
    assert np.allclose(turned[6], -geometry[6][:, ::-1])
    inside = turned[3] == 1
    # The mean face is symmetric: on both sides of the nose the x code runs the same way.
    columns = np.argwhere(inside)[:, 1]
    slope, turned_slope = (np.polyfit(np.argwhere(g[3] == 1)[:, 1], g[0][g[3] == 1], 1)[0] for g in (geometry, turned))
    assert len(columns) > 100
    assert slope == pytest.approx(turned_slope, rel=0.2)


def test_a_turned_frame_is_the_frame_of_the_turned_mesh(folder):
    (t,) = open_triples(folder)
    turn, triangles, mesh = (
        Turn(np.array([120.0, 140.0]), 0.3, 1.1),
        FaceModel.load().triangles,
        t.frames["vertices"][2],
    )
    plain, turned = (255 * (rasterise(m, triangles).triangle >= 0).astype(np.uint8) for m in (mesh, turn.mesh(mesh)))
    picture = turn.picture(np.repeat(plain[..., None], 3, 2))[..., 0]
    wrong = [
        ((np.roll(picture, shift, (0, 1)) > 127) != (turned > 127)).sum()
        for shift in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    assert (turned > 127).sum() > 3000
    assert wrong[0] < 0.4 * min(wrong[1:])  # half a pixel off, two of these would be the same


def test_a_turned_field_moves_what_it_moved(folder):
    turn = Turn(np.array([128.0, 128.0]), np.pi / 2, 2.0)
    control = np.zeros((16, 16, 2), np.float32)
    control[..., 0] = np.arange(16)[None]
    turned = turn.field(control)
    # A quarter turn with y down: x goes to y, and all is twice as long, about the middle.
    assert np.allclose(turned[..., 0], 0, atol=1e-3)
    assert np.allclose(turned[:, 8, 1], 2 * (7.5 + (np.arange(16) - 7.5) / 2), atol=1e-3)


def test_both_pictures_get_the_same_colours():
    pair = np.stack([np.full((8, 8, 3), (90, 120, 60), np.float32)] * 2)
    out = recoloured(pair, np.random.default_rng(0))
    assert (out[0] == out[1]).all()
    assert (out[0] != 0).any()


def test_cells_and_pictures_are_inverse():
    x = torch.rand(2, 3, 16, 24)
    assert torch.equal(from_cells(in_cells(x)), x)


def test_a_residual_flow_looks_elsewhere_and_colours_are_added():
    x = torch.rand(1, 3, 32, 32)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 3
    out = painted(x, torch.full((1, 48, 8, 8), 0.25), flow)
    assert torch.allclose(out[..., :-4], x[..., 3:-1] + 0.25, atol=1e-5)


def test_edges_see_blur_and_not_brightness():
    x = torch.rand(1, 3, 32, 32)
    assert float(edges(x, x + 0.3)) < 1e-6
    assert float(edges(x, torch.nn.functional.avg_pool2d(x, 3, 1, 1))) > 0.1


def test_the_perceptual_distance_is_lpips():
    from bench.metrics import Lpips

    try:
        wanted = Lpips("alex")
    except HeadwireError as error:
        pytest.skip(str(error))
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (2, 64, 64, 3)).astype(np.uint8) for _ in range(2))
    x, y = (torch.from_numpy(p).permute(0, 3, 1, 2).float() / 127.5 - 1 for p in (a, b))
    y.requires_grad_()
    distance = PerceptualDistance("alex")(x, y)
    assert distance.detach().numpy() == pytest.approx(wanted(a, b), rel=1e-3)
    distance.sum().backward()
    assert y.grad is not None
    assert float(y.grad.abs().sum()) > 0


def loop(run: Path, steps: int, **changes: Any) -> LoopSettings:
    settings = LoopSettings(run, steps, batch=2, log_every=1, picture_every=0, validate_every=0, checkpoint_every=1)
    return replace(settings, device="cpu", **changes)


def test_training_goes_on_where_it_was_and_what_it_learned_ships(folder, tmp_path, monkeypatch):
    try:
        PerceptualDistance("vgg", 1)
    except HeadwireError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(light.LightTask, "validate", lambda *_: {})
    settings = replace(TINY, triples=folder)
    light.run(settings, loop(tmp_path / "once", 4))
    # The learning rate follows the number of steps, so the first half is told of all four.
    source = LightSource(open_triples(folder), 0, crop=64)
    halfway = light.LightTask(settings, 4)
    assert halfway.rate(0) < halfway.rate(1) == settings.rate
    assert halfway.rate(3) < 0.6 * settings.rate
    state = checkpoints.load(tmp_path / "once")
    assert state is not None
    assert state["step"] == 4
    assert state["description"]["network"] == "light"
    assert any(bool(v.any()) for k, v in state["averages"]["light"].items() if k.startswith("colour"))
    light.run(settings, loop(tmp_path / "once", 6))
    again = checkpoints.load(tmp_path / "once")
    assert again is not None
    assert again["step"] == 6

    target = export(LightExportSettings(tmp_path / "once", tmp_path / "light.safetensors", 0, folder))
    notes = read_weights(target)[1]
    assert "not for commercial use" in notes["provenance"]
    net = load_run(tmp_path / "once")
    (t,) = open_triples(folder, "validation")
    judge = LightSource([t])
    by_torch = torch_paint(net, judge)(t, 1)
    by_openvino = LightPainter(target, "f32").paint(t.shown[1], judge.geometry(t, 1))
    assert np.abs(by_torch.astype(int) - by_openvino).mean() < 0.5
    assert len(source) == 5


def test_a_run_of_another_network_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no checkpoint"):
        load_run(tmp_path)
    checkpoints.save(tmp_path, {"step": 1, "description": {"network": "headgan"}})
    with pytest.raises(UsageError, match="not a run of light"):
        load_run(tmp_path)


class _Nearness:
    """Stands for LPIPS, whose weights may not be here: mean absolute difference."""

    def __call__(self, truth: Any, shown: Any) -> Any:
        return np.abs(truth.astype(float) - shown).mean((1, 2, 3)) / 255


def test_figures_compare_light_with_warp_per_kind(folder):
    (t,) = open_triples(folder, "validation")
    nets: Any = {"alex": _Nearness()}
    found = measure(lambda clip, i: clip.truth[i], [t], 1, nets)
    assert set(found) == {"still/warp", "still/light", "motion/warp", "motion/light"}
    assert found["still/light"]["lpips_alex"] == found["still/light"]["mouth_alex"] == 0
    assert found["still/warp"]["l1"] > 0
    assert found["motion/warp"]["l1"] <= found["still/warp"]["l1"] + 0.5
    text = table(found)
    assert "-100.0 %" in text
    picture = sheet(lambda clip, i: clip.truth[i], [t], "motion", 3)
    assert picture.shape == (256, 6 * 256, 3)


def test_harm_counts_only_what_leads_away_from_the_truth() -> None:
    truth = torch.zeros(1, 3, 32, 32)
    before = truth.clone()
    before[..., 16:] = 0.5
    shown = before + 0.1
    assert harm(truth, before, shown) == pytest.approx(0.1, abs=1e-5)
    assert harm(truth, before, before) == 0
    better = before.clone()
    better[..., 16:] -= 0.3
    assert harm(truth, before, better) == 0


def test_samples_that_nobody_can_mend_count_less():
    truth = torch.zeros(3, 3, 8, 8)
    before = torch.stack([torch.full((3, 8, 8), wrong) for wrong in (0.0, 0.04, 0.36)])
    counted = counts(truth, before, 0.04)
    assert counted.mean() == pytest.approx(1)
    assert (counted[0] / counted[1]).item() == pytest.approx(2)
    assert (counted[0] / counted[2]).item() == pytest.approx(10)
