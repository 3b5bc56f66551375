"""The command line: one subcommand per job. Each parses its options and calls one function elsewhere."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from codec.errors import HeadwireError, UsageError

app = typer.Typer(
    help="A video call in 35 floats a frame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Rate(StrEnum):
    lowest = "lowest"
    low = "low"
    normal = "normal"


class Crop(StrEnum):
    auto = "auto"
    none = "none"


class Show(StrEnum):
    call = "call"
    error = "error"
    memory = "memory"


class Motion(StrEnum):
    auto = "auto"
    off = "off"


PlayOption = Annotated[Path | None, typer.Option(help="A video file in place of the camera.")]
SecondsOption = Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")]
SinkOption = Annotated[str, typer.Option(help="window, FILE.mp4, FILE.mkv, camera, browser[:PORT] or null.")]
ModelOption = Annotated[str, typer.Option(help="auto, warp, light, full, headgan or headgan-small.")]
RateOption = Annotated[Rate, typer.Option(help="How little to send.")]
PhotosOption = Annotated[float, typer.Option(min=0, help="kbps for photos after the first; 0 = one photo.")]
MotionOption = Annotated[Motion, typer.Option(help="The residual motion field.")]
LinkOption = Annotated[str | None, typer.Option(help="An emulated bad link: loss=0.25,delay=50,jitter=20,seed=1 ...")]
StatsOption = Annotated[Path | None, typer.Option(help="Write the figures to this file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
CropOption = Annotated[Crop, typer.Option(help="auto: a square around the face; none: the picture as it is.")]
BackgroundOption = Annotated[
    str | None, typer.Option(help="In place of the room, before anything is sent: blur, or a picture FILE.")
]
BehindOption = Annotated[
    str | None, typer.Option(help="In place of the sender's room, here only: blur, or a picture FILE.")
]
RoomOption = Annotated[str, typer.Option(help="The room's name, the same on both sides.")]
SignalOption = Annotated[str, typer.Option(help="URL of `headwire serve`, or `paste` to copy by hand.")]
TokenOption = Annotated[str | None, typer.Option(help="The room's token, where the server asks for one.")]


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more; show tracebacks.")] = False,
) -> None:
    import logging

    level = logging.DEBUG if verbose else logging.ERROR
    logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s")


@app.command()
def demo(
    play: PlayOption = None,
    clip: Annotated[str, typer.Option(help="Without --play: wolfgang or franck.")] = "wolfgang",
    seconds: SecondsOption = None,
    sink: Annotated[str | None, typer.Option(help="Where the viewer's picture goes; default demo/call.mp4.")] = None,
    model: ModelOption = "auto",
    rate: RateOption = Rate.normal,
    photos: PhotosOption = 3.0,
    motion: MotionOption = Motion.auto,
    link: LinkOption = None,
    show: Annotated[
        Show, typer.Option(help="In the film: error, where the picture is known to be wrong; memory, what it is from.")
    ] = Show.call,
    background: BackgroundOption = None,
    stats_json: StatsOption = None,
    as_json: JsonOption = False,
) -> None:
    """A call on this machine: sender and receiver as two processes, real WebRTC between them."""
    from bench.call import DemoSettings, run_demo

    settings = DemoSettings(
        play, clip, seconds, sink, model, rate.value, photos, motion.value, link, show.value, background
    )
    _report(run_demo(settings, quiet=as_json), stats_json, as_json)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 = any free one.")] = 8765,
    secret_file: Annotated[Path | None, typer.Option(help="Rooms then need a token made with this secret.")] = None,
    token_for: Annotated[str | None, typer.Option(help="Print the token of this room and end.")] = None,
) -> None:
    """Signalling: rooms, tokens, the viewer page."""
    from transport.signalling_server import read_secret, room_token
    from transport.signalling_server import serve as serve_rooms

    if token_for is not None:
        if secret_file is None:
            raise UsageError("--token-for needs --secret-file: without a secret rooms are open to everyone")
        print(room_token(read_secret(secret_file), token_for))
        return
    serve_rooms(host, port, secret_file)


@app.command()
def send(
    room: RoomOption,
    signal: SignalOption,
    token: TokenOption = None,
    camera: Annotated[str | None, typer.Option(help="Camera by index or name; see `headwire devices`.")] = None,
    play: PlayOption = None,
    microphone: Annotated[str | None, typer.Option(help="Microphone by name.")] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="No sound.")] = False,
    reference: Annotated[str, typer.Option(help="auto (best of the first second) or a picture FILE.")] = "auto",
    crop: CropOption = Crop.auto,
    seconds: SecondsOption = None,
    rate: RateOption = Rate.normal,
    photos: PhotosOption = 3.0,
    motion: MotionOption = Motion.auto,
    link: LinkOption = None,
    record: Annotated[Path | None, typer.Option(help="Keep the coded pictures as FILE.mkv (lossless).")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Play the file again when it ends.")] = False,
    start: Annotated[float, typer.Option(min=0, help="Skip so many seconds of the file.")] = 0.0,
    log: Annotated[
        Path | None, typer.Option(help="JSON lines: how sure the viewer's picture is where, and from what.")
    ] = None,
    background: BackgroundOption = None,
    stats_json: StatsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a face to a room."""
    from sender.pipeline import SendSettings, run_sender

    settings = SendSettings(
        room, signal, token, camera, play, microphone, not no_audio, reference, crop.value, seconds, rate.value,
        photos, motion.value, link, record, loop, start, log, background,
    )  # fmt: skip
    _report(run_sender(settings), stats_json, as_json)


@app.command()
def receive(
    room: RoomOption,
    signal: SignalOption,
    token: TokenOption = None,
    sink: SinkOption = "window",
    model: ModelOption = "auto",
    record: Annotated[Path | None, typer.Option(help="Also keep the pictures in FILE.mp4 or FILE.mkv.")] = None,
    seconds: SecondsOption = None,
    link: LinkOption = None,
    log: Annotated[Path | None, typer.Option(help="JSON lines, one for each frame shown.")] = None,
    background: BehindOption = None,
    stats_json: StatsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the face of a room."""
    from receiver.pipeline import ReceiveSettings, run_receiver

    settings = ReceiveSettings(room, signal, token, sink, model, record, seconds, link, log, background)
    _report(run_receiver(settings), stats_json, as_json)


@app.command()
def devices(as_json: JsonOption = False) -> None:
    """Cameras, microphones, speakers and inference devices, by name."""
    from sender.devices import list_devices

    found = list_devices()
    kinds = ("camera", "microphone", "speaker", "inference")
    named = {f"{k}s" if k != "inference" else k: [f"{d.index}: {d.name}" for d in found.of(k)] for k in kinds}
    if as_json:
        print(json.dumps(named | {"notes": found.notes}, indent=2))
        return
    for kind, names in named.items():
        print(f"{kind}:\n" + ("".join(f"  {name}\n" for name in names) or "  none\n"), end="")
    for note in found.notes:
        print(note)


@app.command()
def encode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.hw", help="The Headwire file to write.")],
    crop: CropOption = Crop.auto,
    reference: Annotated[str, typer.Option(help="first, a frame number, auto, or a picture FILE.")] = "first",
    rate: RateOption = Rate.normal,
    photos: PhotosOption = 3.0,
    motion: MotionOption = Motion.auto,
    background: BackgroundOption = None,
    sound: Annotated[bool, typer.Option("--sound", help="Keep the sound, too, as Opus.")] = False,
    as_json: JsonOption = False,
) -> None:
    """A video file to a Headwire file: the same packets that go over the wire."""
    from sender.files import EncodeSettings, encode_file

    settings = EncodeSettings(
        source, target, crop.value, reference, rate.value, photos, motion.value, background, sound
    )
    _report(encode_file(settings), None, as_json)


@app.command()
def decode(
    source: Annotated[Path, typer.Argument(metavar="IN.hw", help="A Headwire file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help=".mp4 (H.264), .mkv (FFV1, lossless) or .y4m.")],
    model: ModelOption = "auto",
    background: BehindOption = None,
    as_json: JsonOption = False,
) -> None:
    """A Headwire file back to video, frame for frame."""
    from receiver.files import decode_file

    _report(decode_file(source, target, model, background), None, as_json)


@app.command()
def info(
    source: Annotated[Path, typer.Argument(metavar="FILE.hw", help="A Headwire file.")], as_json: JsonOption = False
) -> None:
    """What is inside a Headwire file, bytes by kind."""
    from codec.inspection import inspect

    _report(inspect(source), None, as_json)


@app.command()
def fit(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A video file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.npz", help="The arrays to write.")],
    crop: CropOption = Crop.auto,
    draw: Annotated[Path | None, typer.Option(help="Also draw mesh, axes, PNCC and numbers: FILE.mp4.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The 3DMM parameters of every frame."""
    from sender.files import fit_file

    _report(fit_file(source, target, crop.value, draw), None, as_json)


@app.command()
def reenact(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Whose face: a photo or a video.")],
    driver: Annotated[Path, typer.Argument(metavar="DRIVER", help="Who moves it: a video.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help=".mp4, .mkv or .y4m, at the driver's rate.")],
    model: ModelOption = "auto",
    absolute: Annotated[bool, typer.Option("--absolute", help="The driver's pose as it is, not its movement.")] = False,
    own_neutral: Annotated[
        bool, typer.Option("--own-neutral/--keep-neutral", help="Take the driver's face at rest off its expression.")
    ] = True,
    driver_identity: Annotated[
        bool, typer.Option("--driver-identity", help="Ablation: the mesh of the driver's identity.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The expression and head movement of one person on the face of another."""
    from sender.editing import ReenactSettings
    from sender.editing import reenact as reenact_files

    settings = ReenactSettings(source, driver, target, model, absolute, own_neutral, driver_identity)
    _report(reenact_files(settings), None, as_json)


@app.command()
def edit(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of a face.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help=".png, .jpg, or a video that moves there.")],
    smile: Annotated[float, typer.Option(help="1: a full smile; -1: corners down.")] = 0.0,
    open_mouth: Annotated[float, typer.Option(help="1: wide open.")] = 0.0,
    close_eyes: Annotated[float, typer.Option(help="1: shut.")] = 0.0,
    gaze: Annotated[str, typer.Option(metavar="X,Y", help="Degrees to the right of the picture, down.")] = "0,0",
    yaw: Annotated[float, typer.Option(help="Degrees more, to the left of the picture.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Degrees more, down.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Degrees more, clockwise.")] = 0.0,
    expression: Annotated[
        list[str] | None, typer.Option(metavar="MODE=VALUE", help="Expression mode 1 to 28, standard deviations more.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, max=600, help="Of the video; default 2.")] = None,
    model: ModelOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Another expression, gaze or pose for the face of a photo."""
    from codec.controls import Edit, parse_gaze, parse_modes
    from sender.editing import edit as edit_photo

    change = Edit(smile, open_mouth, close_eyes, parse_gaze(gaze), yaw, pitch, roll, parse_modes(expression or []))
    _report(edit_photo(photo, target, change, model, seconds), None, as_json)


@app.command()
def frontalise(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A photo or a video.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A picture for a photo, a video for a video.")],
    model: ModelOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Turn the head to the front."""
    from sender.editing import frontalise as frontalise_file

    _report(frontalise_file(source, target, model), None, as_json)


@app.command()
def view(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photo of a face.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A video; a picture with --yaw, --pitch or --roll.")],
    yaw: Annotated[float, typer.Option(help="This view alone: degrees more, to the left of the picture.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="This view alone: degrees more, down.")] = 0.0,
    roll: Annotated[float, typer.Option(help="This view alone: degrees more, clockwise.")] = 0.0,
    turn: Annotated[float, typer.Option(min=0, help="How far the video turns to both sides, degrees.")] = 20.0,
    nod: Annotated[float, typer.Option(min=0, help="How far it nods, degrees.")] = 10.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, max=600, help="Of the video; default 5.")] = None,
    model: ModelOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """The head of a photo from other sides: a video of it turning, or one view."""
    from codec.controls import Edit
    from sender.editing import view as view_photo

    pose = Edit(yaw=yaw, pitch=pitch, roll=roll)
    _report(view_photo(photo, target, pose, model, seconds, turn, nod), None, as_json)


@app.command()
def models(as_json: JsonOption = False) -> None:
    """Networks and weights: provenance, sha256, size, speed on this machine."""
    from models.zoo import models as list_models

    found = list_models()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for model in found:
        _table(model)


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which; --list names them.")] = None,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILES", help="compare: two JSON files.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="What there is.")] = False,
    clips: Annotated[Path | None, typer.Option(help="quality: a folder of videos, validation or long.")] = None,
    codecs: Annotated[str, typer.Option(help="quality: names, with commas between them.")] = "",
    rates: Annotated[str, typer.Option(help="quality: rates, with commas between them.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="quality: the report.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.04, help="quality: of each clip; latency: of a call.")] = None,
    every: Annotated[int | None, typer.Option(min=1, help="quality: measure one in so many frames.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="quality: so many clips.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="quality: processes, of one thread each.")] = 2,
    beside: Annotated[list[Path] | None, typer.Option("--with", help="quality: other JSON for the report.")] = None,
    plots: Annotated[Path | None, typer.Option(help="quality: a folder for SVG and PNG plots.")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="quality: csim=FILE, fid=FILE, fvd=FILE or au_h=FILE.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=0, help="compare: how much worse is none, in a figure's unit.")
    ] = None,
) -> None:
    """Benchmarks."""
    from bench.registry import BENCHES, QualityRequest, run_bench, run_compare, run_latency, run_quality, run_rate

    if listing or name is None:
        for known, (_, what) in BENCHES.items():
            print(f"{known:10} {what}")
    elif name == "quality":
        asked = QualityRequest(
            clips, codecs, rates, json_file, html, seconds, every, most, workers, beside or [], plots, weights or []
        )
        _report(run_quality(asked), None, as_json=False)
    elif name == "rate":
        print(run_rate(json_file))
    elif name == "latency":
        _report(run_latency(seconds), json_file, as_json=False)
    elif name == "compare":
        text, code = run_compare(files or [], margin)
        print(text)
        raise typer.Exit(code)
    else:
        _report(run_bench(name), json_file, as_json=False)


@app.command()
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="light, headgan, ...; a wrong name lists them.")],
    data: Annotated[Path | None, typer.Option(help="The training clips; else HEADWIRE_DATA or ../shared/data.")] = None,
) -> None:
    """Learn what is shipped, from the training clips."""
    from training.registry import run_training

    run_training(name, data)


def _report(figures: dict[str, Any], path: Path | None, as_json: bool) -> None:
    text = json.dumps(figures, indent=2)
    if path:
        try:
            path.write_text(text + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}; choose another place") from error
    if as_json:
        print(text)
    else:
        _table(figures)


def _table(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in figures.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {_number(v)}" for key, v in value.items())
        table.add_row(name, _number(value))
    Console().print(table)


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)


def main() -> None:
    """Entry point: one line and exit code 2 for a user's mistake, 1 for a failure, a traceback only with -v."""
    flags = [a for a in sys.argv[1:] if a in ("-v", "--verbose")]
    arguments = flags[:1] + [a for a in sys.argv[1:] if a not in flags]
    try:
        code = app(arguments, standalone_mode=False)
    except HeadwireError as error:
        _fail(str(error), error.exit_code, flags)
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        hint = " Try --help." if message else ""
        _fail(" ".join(message.split()) + hint, getattr(error, "exit_code", 1), [])
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last line of defence: one sentence instead of a traceback
        _fail(f"internal error: {type(error).__name__}: {error}; run again with -v for details", 1, flags)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int, verbose: list[str]) -> NoReturn:
    if verbose:
        import traceback

        traceback.print_exc()
    if message:
        print(f"headwire: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
