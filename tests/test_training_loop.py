"""The shared training loop, HeadGAN's task and the pairs they learn from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from codec import raster  # noqa: E402
from codec.errors import HeadwireError, UsageError  # noqa: E402
from codec.face_model import FaceModel  # noqa: E402
from tests.training_helpers import made_up_clip  # noqa: E402
from training import checkpoints  # noqa: E402
from training.distributed import Group  # noqa: E402
from training.headgan import HeadGANSettings, HeadGANTask, run  # noqa: E402
from training.loop import LoopSettings  # noqa: E402
from training.loop import run as run_loop  # noqa: E402
from training.pairs import Draw, PairBatch, PairSettings, PairSource  # noqa: E402
from training.pairs_store import folder_clips, open_store, prepare  # noqa: E402
from training.sketch import sketch  # noqa: E402

TINY = HeadGANSettings(width=0.03, judges=2, features="none")
ALONE = Group(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    made_up_clip(folder, "a", 1)
    made_up_clip(folder, "b", 2, frames=6)
    return folder


def _loop(folder: Path, steps: int, **changes: Any) -> LoopSettings:
    settings = LoopSettings(folder, steps, batch=2, log_every=1, picture_every=0, validate_every=0, checkpoint_every=1)
    return replace(settings, **changes)


def _plain(source: PairSource, clip: int = 0, picture: int = 2, **changes: Any) -> Draw:
    window, gain = np.array((1, 0, 0), np.float32), np.eye(3, dtype=np.float32)
    return replace(Draw(clip, (0,), picture, False, window, gain, np.zeros(3, np.float32)), **changes)


def _state(folder: Path) -> dict[str, Any]:
    state = checkpoints.load(folder)
    assert state is not None
    return state


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(torch.equal(a, b)) if isinstance(a, torch.Tensor) else bool(a == b)


# Pairs


def test_a_plain_pair_is_what_was_stored(store: Path) -> None:
    source = PairSource(open_store(store), PairSettings())
    clip = source.clips[0]
    batch = source.gather([_plain(source)])
    shown = ((batch.driving[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(shown, clip.pictures[2])
    model = FaceModel.load()
    seen = raster.rasterise(clip.vertices[2], model.triangles)
    code = raster.pncc(seen, raster.pncc_colours(model))
    assert np.allclose(batch.window[0, 6:].permute(1, 2, 0), code)
    assert np.array_equal(batch.mask[0, 0].numpy(), seen.mask)


def test_first_frame_repeats_in_the_window(store: Path) -> None:
    source = PairSource(open_store(store), PairSettings())
    window = source.gather([_plain(source, picture=0)]).window[0]
    assert torch.equal(window[:3], window[6:])
    later = source.gather([_plain(source, picture=3)]).window[0]
    assert not torch.equal(later[:3], later[6:])


def test_flow_is_the_rasterisers(store: Path) -> None:
    source = PairSource(open_store(store), PairSettings(flow=True))
    batch = source.gather([_plain(source)])
    clip, model = source.clips[0], FaceModel.load()
    seen = raster.rasterise(clip.vertices[2], model.triangles)
    there = raster.flow(seen, model.triangles, clip.vertices[0])
    centres = np.stack(np.meshgrid(np.arange(256) + 0.5, np.arange(256) + 0.5), -1)
    assert batch.flow is not None
    found = batch.flow[0, 0].permute(1, 2, 0).numpy() * 128
    assert np.abs(found - (there - centres)).max() < 0.1


def test_mirror_and_crop_move_everything_alike(store: Path) -> None:
    """The pictures are painted with PNCC: after any augmentation, picture, code and vertices must still agree."""
    source = PairSource(open_store(store), PairSettings(flow=True))
    window = np.array((0.8, 20, 30), np.float32)
    for mirror in (False, True):
        batch = source.gather([_plain(source, mirror=mirror, window=window)])
        mask = batch.mask[0, 0]
        rows, columns = np.nonzero(mask.numpy())
        points = batch.vertices[0, :468, :2].numpy()
        assert columns.min() == pytest.approx(points[:, 0].min(), abs=2.5)
        assert columns.max() == pytest.approx(points[:, 0].max(), abs=2.5)
        assert rows.max() == pytest.approx(points[:, 1].max(), abs=2.5)
        painted = (batch.driving[0] + 1) / 2
        grey = (painted - 0.4).abs().amax(0) < 0.02
        assert (grey == ~mask).float().mean() > 0.97
        wanted = batch.window[0, 6:].clone()
        other = source.gather([_plain(source, mirror=False, window=window)])
        if mirror:
            # The mirrored code colours the left cheek as the right one was: x runs the other way than in the picture.
            assert (wanted[0][mask] - painted[0][mask]).abs().mean() > 0.2
            assert (wanted[1][mask] - painted[1][mask]).abs().mean() < 0.05
            assert batch.mouth[0, 0] != other.mouth[0, 0]
        else:
            assert (wanted[:, mask] - painted[:, mask]).abs().mean() < 0.02


def test_augmented_flow_still_leads_to_the_same_skin(store: Path) -> None:
    from models.headgan_blocks import warped

    source = PairSource(open_store(store), PairSettings(flow=True, mirror=1.0, crop=1.0))
    batch = source.batch(0, range(6))
    assert batch.flow is not None
    inside = -torch.nn.functional.max_pool2d(-batch.mask.float(), 9, 1, 4)
    moved = warped(batch.references[:, 0], batch.flow[:, 0])
    error, still = (
        ((x - batch.driving).abs() * inside).sum() / inside.sum() / 3 for x in (moved, batch.references[:, 0])
    )
    assert error < 0.5 * still


def test_resident_buffers_give_the_same_batches(store: Path) -> None:
    for settings in (PairSettings(flow=True), PairSettings(sketches=True), PairSettings(photos=3)):
        host = PairSource(open_store(store), settings, seed=3)
        resident = PairSource(open_store(store), settings, seed=3, resident=True)
        for step in range(2):
            a, b = host.batch(step, range(3)), resident.batch(step, range(3))
            assert all(_same(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_draws_depend_on_place_alone(store: Path) -> None:
    source = PairSource(open_store(store), PairSettings(), seed=5)
    whole = source.batch(7, range(4))
    half = source.batch(7, range(2, 4))
    assert torch.equal(whole.driving[2:], half.driving)
    assert not torch.equal(source.batch(8, range(4)).driving, whole.driving)


def test_people_are_drawn_by_the_root_of_their_frames(tmp_path: Path) -> None:
    made_up_clip(tmp_path, "long", 1, frames=16)
    made_up_clip(tmp_path, "short", 2, frames=4)
    source = PairSource(open_store(tmp_path), PairSettings())
    frames = [len(clip.usable) for clip in source.clips]
    assert source.probability[0] / source.probability[1] == pytest.approx(np.sqrt(frames[0] / frames[1]))


def test_sketches_draw_what_the_landmarks_show(store: Path) -> None:
    clip = open_store(store)[0]
    points = clip.fit["landmarks"][0, :, :2]
    drawn = sketch(points)
    for point in (13, 152, 33):
        x, y = points[point].astype(int)
        assert (drawn[y - 2 : y + 3, x - 2 : x + 3] >= 0).any()
    assert (drawn[:20] == -1).all()
    assert (sketch(np.full((478, 2), np.nan, np.float32)) == -1).all()


def test_held_out_people_cannot_be_trained_on(tmp_path: Path) -> None:
    made_up_clip(tmp_path, "a", 1)
    about = tmp_path / "train" / "a" / "about.json"
    said = json.loads(about.read_text())
    about.write_text(json.dumps({**said, "identity": "sky_5"}))
    with pytest.raises(UsageError, match="held out"):
        open_store(tmp_path)


def test_a_store_of_another_face_model(tmp_path: Path) -> None:
    made_up_clip(tmp_path, "a", 1)
    about = tmp_path / "train" / "a" / "about.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "face_model": "00"}))
    with pytest.raises(UsageError, match="train prepare"):
        open_store(tmp_path)


def test_audio_that_is_not_there(store: Path) -> None:
    with pytest.raises(UsageError, match="audio"):
        PairSource(open_store(store), PairSettings(audio=True))


def test_audio_trains_on_the_clips_that_have_it(tmp_path: Path) -> None:
    made_up_clip(tmp_path, "loud", 1, frames=4, audio=True)
    made_up_clip(tmp_path, "mute", 2, frames=4)
    clips = open_store(tmp_path)
    for settings in (PairSettings(audio=True), PairSettings(sounding=True)):
        source = PairSource(clips, settings)
        assert [clip.folder.name for clip in source.clips] == ["loud"]
        heard = source.gather([_plain(source)]).audio
        assert (heard is not None) == settings.audio
        if heard is not None:
            assert np.array_equal(heard[0], source.clips[0].fit["audio"][2])
    assert len(PairSource(clips).clips) == 2


def test_preparing_again_adds_what_is_heard(tmp_path: Path) -> None:
    from tests.test_characters import video
    from training.dataset import Clip
    from training.pairs_store import StoreSettings, prepare_clip
    from training.sound import Listener

    made_up_clip(tmp_path, "a", 1, frames=10)
    target = tmp_path / "train" / "a"
    video(tmp_path / "loud.mkv", 0.4)
    video(tmp_path / "mute.mkv", 0.4, sound_rate=None)

    def again(name: str, ahead: int) -> dict[str, Any]:
        clip = Clip(tmp_path / name, "person1", 0.0, False, "train", "made up")
        assert prepare_clip((clip, target, StoreSettings(), Listener(ahead))) == ""
        return dict(open_store(tmp_path)[0].fit)

    before = dict(open_store(tmp_path)[0].fit)
    heard = again("loud.mkv", 4)
    assert heard["audio"].shape == (10, 300)
    assert np.array_equal(before["parameters"], heard["parameters"])
    written = (target / "fit.npz").stat().st_mtime_ns
    again("loud.mkv", 4)
    assert (target / "fit.npz").stat().st_mtime_ns == written
    assert not np.array_equal(again("loud.mkv", 0)["audio"], heard["audio"])
    assert "audio" not in again("mute.mkv", 4)


def test_preparing_skips_and_lists_what_is_no_face(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    (videos / "id1" / "x").mkdir(parents=True)
    (videos / "id1" / "x" / "00001.mp4").write_bytes(b"not a video")
    _grey_video(videos / "grey.mp4")
    found = folder_clips(videos)
    assert [clip.identity for clip in found] == ["grey", "id1"]
    skipped = prepare(found, tmp_path / "store", root=videos)
    assert set(skipped) == {"grey", "id1__x__00001"}
    assert "no face" in skipped["grey"]
    assert (tmp_path / "store" / "skipped.tsv").read_text().count("\n") == 2
    with pytest.raises(UsageError, match="no prepared clips"):
        open_store(tmp_path / "store")
    with pytest.raises(UsageError, match="no videos"):
        folder_clips(tmp_path / "store")


def test_a_wide_video_is_cut_to_a_square_around_the_face() -> None:
    from training.pairs_store import squared

    model = FaceModel.load()
    clip_points = np.stack([model.mean * (90, 90, 90) + (400 + t, 200, 0) for t in range(3)]).astype(np.float32)
    pictures = [np.zeros((480, 854, 3), np.uint8) for _ in clip_points]
    for picture, points in zip(pictures, clip_points, strict=True):
        x, y = points[1, :2].astype(int)
        picture[y - 3 : y + 4, x - 3 : x + 4] = 255
    cut, moved = squared(pictures, clip_points)
    height = moved[1, :, 1].max() - moved[1, :, 1].min()
    assert height == pytest.approx(256 / 1.75, abs=1)
    for picture, points in zip(cut, moved, strict=True):
        assert picture.shape == (256, 256, 3)
        rows, columns = np.nonzero(picture[..., 0] > 128)
        assert columns.mean() + 0.5 == pytest.approx(points[1, 0], abs=1.5)
        assert rows.mean() + 0.5 == pytest.approx(points[1, 1], abs=1.5)


def test_identities_can_be_kept_out(tmp_path: Path) -> None:
    for name in ("id1", "id2"):
        (tmp_path / name / "video").mkdir(parents=True)
        (tmp_path / name / "video" / "00001.mp4").touch()
    assert [clip.split for clip in folder_clips(tmp_path, ["id2"])] == ["train", "validation"]


def _grey_video(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width = stream.height = 128
        for _ in range(4):
            picture = av.VideoFrame.from_ndarray(np.full((128, 128, 3), 128, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


# The loop


def test_losses_fall(store: Path, tmp_path: Path) -> None:
    settings = replace(TINY, adversarial=False, rate=5e-3, store=store)
    run(settings, _loop(tmp_path, 12, device="cpu", checkpoint_every=0))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    values = [line["l1"] for line in lines]
    assert np.mean(values[-3:]) < 0.8 * np.mean(values[:3])


def test_a_resumed_run_is_the_same_bit_for_bit(store: Path, tmp_path: Path) -> None:
    settings = replace(TINY, store=store)
    run(settings, _loop(tmp_path / "whole", 3, device="cpu"))
    run(settings, _loop(tmp_path / "cut", 1, device="cpu"))
    run(settings, _loop(tmp_path / "cut", 3, device="cpu", workers=0))
    assert _same(_state(tmp_path / "whole"), _state(tmp_path / "cut"))


@pytest.mark.timeout(300)
def test_two_processes_learn_what_one_does(store: Path, tmp_path: Path) -> None:
    script = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from training.headgan import HeadGANSettings, run; from training.loop import LoopSettings\n"
        "s = HeadGANSettings(width=0.03, judges=2, features='none', store=Path(sys.argv[1]))\n"
        "run(s, LoopSettings(Path(sys.argv[2]), 1, batch=2, device='cpu', picture_every=0, workers=0))\n"
    )
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    run(replace(TINY, store=store), _loop(tmp_path / "one", 1, device="cpu", workers=0))
    (tmp_path / "train.py").write_text(script)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launcher, str(tmp_path / "train.py"), str(store), str(tmp_path / "two")]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=280)
    one, two = _state(tmp_path / "one"), _state(tmp_path / "two")
    task = HeadGANTask(TINY, ALONE, [])
    for part, module in task.modules.items():
        moments = [state["optimizers"][part]["state"] for state in (one, two)]
        weights = [state["modules"][part] for state in (one, two)]
        names = [name for name, _ in module.named_parameters()]
        largest = max(float(moment["exp_avg"].abs().max()) for moment in moments[0].values())
        sure, count = 0, 0
        for number, name in enumerate(names):
            # Adam's first moment after one step is half the gradient.
            first, second = (moment[number]["exp_avg"] for moment in moments)
            difference = (first - second).abs()
            assert float(difference.max()) < 3e-4 * largest, name
            # Where a gradient is no more than rounding, Adam makes a whole step of it.
            known = first.abs() > torch.clamp(10 * difference, min=1e-6)
            assert torch.allclose(weights[0][name][known], weights[1][name][known], atol=1e-5), name
            sure, count = sure + int(known.sum()), count + known.numel()
        assert sure > 0.9 * count
        for name in weights[0].keys() - set(names):
            assert torch.allclose(weights[0][name], weights[1][name], atol=1e-5), name


class _Halting(PairSource):
    """Sends this process a termination signal with its third batch (this thread: others belong to libraries)."""

    def batch(self, step: int, slots: Sequence[int]) -> PairBatch:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)
        return super().batch(step, slots)


def test_a_termination_signal_leaves_a_checkpoint(store: Path, tmp_path: Path) -> None:
    source = _Halting(open_store(store), PairSettings())
    figures = run_loop(HeadGANTask(TINY, ALONE, []), source, _loop(tmp_path, 50, checkpoint_every=0, workers=0), ALONE)
    assert figures["step"] == 3
    assert _state(tmp_path)["step"] == 3


def test_a_run_of_another_network(store: Path, tmp_path: Path) -> None:
    run(replace(TINY, store=store), _loop(tmp_path, 1, device="cpu"))
    with pytest.raises(HeadwireError, match="another network"):
        run(replace(TINY, store=store, flow=False), _loop(tmp_path, 2, device="cpu"))


@pytest.mark.parametrize("kind", ["other width", "no description", "a tensor", "other layers"])
def test_a_checkpoint_of_something_else(store: Path, tmp_path: Path, kind: str) -> None:
    settings = replace(TINY, store=store)
    run(settings, _loop(tmp_path, 1, device="cpu"))
    state: Any = _state(tmp_path)
    if kind == "other width":
        settings = replace(settings, width=0.06)
    elif kind == "no description":
        state = {"model": state["modules"]["generator"]}
    elif kind == "a tensor":
        state = torch.zeros(3)
    else:
        state["modules"]["generator"].popitem()
    torch.save(state, tmp_path / checkpoints.LATEST)
    before = (tmp_path / checkpoints.LATEST).read_bytes()
    with pytest.raises(HeadwireError, match="another run folder"):
        run(settings, _loop(tmp_path, 2, device="cpu"))
    assert (tmp_path / checkpoints.LATEST).read_bytes() == before


def test_a_disk_that_is_full_for_a_while(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint on the way is only missed; the last one must be written, and the one before stays."""
    real, broken = os.fsync, [False]

    def full(descriptor: int) -> None:
        if broken[0]:
            raise OSError(28, "No space left on device")
        real(descriptor)

    class Filling(PairSource):
        def batch(self, step: int, slots: Sequence[int]) -> PairBatch:
            broken[0] = step == 1 or (step == 3 and forever[0])
            return super().batch(step, slots)

    forever = [False]
    monkeypatch.setattr(os, "fsync", full)
    source = Filling(open_store(store), PairSettings())
    loop = _loop(tmp_path, 3, workers=0)
    assert run_loop(HeadGANTask(TINY, ALONE, []), source, loop, ALONE)["step"] == 3
    forever[0] = True
    with pytest.raises(HeadwireError, match="one before it is still there"):
        run_loop(HeadGANTask(TINY, ALONE, []), source, replace(loop, steps=4), ALONE)
    assert _state(tmp_path)["step"] == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_on_a_full_disk_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from training.loop import _Writer

    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    (tmp_path / "figures.json").symlink_to("/dev/full")
    writer = _Writer(tmp_path)
    writer.scalars({"l1": 0.5}, 1)
    writer.figures({"step": 1.0})
    writer.close()
    assert "the training goes on" in caplog.text
    assert "the figures cannot be written" in caplog.text


@pytest.mark.timeout(300)
def test_a_killed_training_goes_on_where_its_checkpoint_is(store: Path, tmp_path: Path) -> None:
    """No signal that could be caught: the process is gone in the middle of its second step."""
    script = (
        "import os, signal, sys, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "from training.headgan import HeadGANSettings, run; from training.loop import LoopSettings\n"
        "from training import pairs\n"
        "class Killed(pairs.PairSource):\n"
        "    def batch(self, step, slots):\n"
        "        if step == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().batch(step, slots)\n"
        "import training.headgan; training.headgan.PairSource = Killed\n"
        "s = HeadGANSettings(width=0.03, judges=2, features='none', store=Path(sys.argv[1]))\n"
        "run(s, LoopSettings(Path(sys.argv[2]), 2, batch=1, device='cpu', picture_every=0, workers=0, checkpoint_every=1))\n"
    )
    (tmp_path / "train.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "train.py"), str(store), str(tmp_path / "killed")]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=280)
    assert done.returncode == -signal.SIGKILL
    assert _state(tmp_path / "killed")["step"] == 1
    # What a process leaves that is killed while it writes.
    (tmp_path / "killed" / f"{checkpoints.LATEST}.partial").write_bytes(b"half of a checkpoint")
    settings = replace(TINY, store=store)
    for name in ("killed", "whole"):
        run(settings, _loop(tmp_path / name, 2, device="cpu", batch=1, workers=0))
    assert _same(_state(tmp_path / "killed")["modules"], _state(tmp_path / "whole")["modules"])


def test_half_precision_and_pictures_for_tensorboard(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    run(replace(TINY, store=store), _loop(tmp_path, 2, device="cpu", precision="bf16", picture_every=1))
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in board.Images("pictures")] == [1, 2]
    assert [event.step for event in board.Scalars("l1")] == [1, 2]
    assert board.Images("pictures")[0].height == 5 * 256
    assert all(value.dtype == torch.float32 for value in _state(tmp_path)["modules"]["generator"].values())
    with pytest.raises(UsageError, match="fp32 or bf16"):
        run(replace(TINY, store=store), _loop(tmp_path, 3, device="cpu", precision="fp8"))


def test_one_clip_of_one_photo_is_enough(tmp_path: Path) -> None:
    made_up_clip(tmp_path / "store", "a", 1, frames=4)
    settings = replace(TINY, store=tmp_path / "store")
    assert run(settings, _loop(tmp_path / "run", 1, device="cpu"))["step"] == 1
    assert len(open_store(tmp_path / "store")[0].references) == 1


def _prepared_or_killed(job: Any) -> str:
    """In ``prepare_clip``'s place: its process dies the first time that clip ``b`` comes up."""
    clip, target, *_ = job
    mark = target.parent / "died"
    if clip.name == "b" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    made_up_clip(target.parents[1], clip.name, 1, frames=4)
    return ""


def test_a_killed_worker_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import pairs_store
    from training.dataset import Clip
    from training.pairs_store import StoreSettings

    monkeypatch.setattr(pairs_store, "prepare_clip", _prepared_or_killed)
    clips = [Clip(Path(f"{name}.mp4"), name, 1.0, False, "train", "made up") for name in "abc"]
    with pytest.raises(HeadwireError, match="run the same again"):
        prepare(clips, tmp_path, StoreSettings(processes=2))
    assert prepare(clips, tmp_path, StoreSettings(processes=2)) == {}
    assert [clip.folder.name for clip in open_store(tmp_path)] == ["a", "b", "c"]


def test_a_batch_that_cannot_be_shared() -> None:
    with pytest.raises(UsageError, match="multiple"):
        Group(0, 3, torch.device("cpu")).slots(4)
    assert list(Group(1, 2, torch.device("cpu")).slots(4)) == [2, 3]


def test_an_average_follows_the_weights(store: Path, tmp_path: Path) -> None:
    run(replace(TINY, store=store), _loop(tmp_path, 3, device="cpu", ema=0.0))
    state = _state(tmp_path)
    assert _same(dict(state["modules"]["generator"]), dict(state["averages"]["generator"]))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(tmp_path, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HeadwireError, match="No space left"):
        checkpoints.save(tmp_path, {"step": 2})
    assert _state(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [checkpoints.LATEST]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, {"step": 1})
    checkpoints.save(tmp_path, {"step": 2})
    latest = tmp_path / checkpoints.LATEST
    latest.write_bytes(latest.read_bytes()[:-50])
    assert _state(tmp_path)["step"] == 1
    (tmp_path / checkpoints.PREVIOUS).write_bytes(b"noise")
    with pytest.raises(HeadwireError, match="no checkpoint"):
        checkpoints.load(tmp_path)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    (tmp_path / checkpoints.LATEST).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(HeadwireError):
        checkpoints.load(tmp_path)
    assert not (tmp_path / "ran").exists()
