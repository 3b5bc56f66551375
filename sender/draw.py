"""What a fit looks like: ``headwire fit --draw out.mp4``.

Three panels side by side, 1152x448: the picture with the mesh's edges and the head's axes over it, PNCC over the picture, and
the 28 expression numbers as bars with the camera's numbers under them.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import raster
from codec.errors import UsageError
from codec.face_model import FaceModel, rotation_matrix
from codec.fitting import Fitter
from codec.parameters import SIZE, Camera, Floats, FrameParameters, Picture

PANEL = 448
BARS = 256
HEIGHT, WIDTH = PANEL, 2 * PANEL + BARS
FULL_BAR = 4.0
"""Standard deviations that fill half of a bar's width."""
_EDGE, _IRIS = (90, 220, 120), (255, 210, 60)
_AXES = ((240, 70, 70), (80, 220, 80), (80, 130, 255))
_TEXT, _GROUND, _POSITIVE, _NEGATIVE = (225, 225, 225), (24, 26, 30), (90, 190, 250), (250, 150, 80)


class FitDrawer:
    """Draws frames of one fit. model: the face model whose parameters they are."""

    def __init__(self, model: FaceModel) -> None:
        import cv2

        self._cv2 = cv2
        self._model = model
        edges = np.concatenate([model.triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
        self._edges = np.unique(np.sort(edges, axis=1), axis=0)
        self._colours = raster.pncc_colours(model)

    def frame(self, picture: Picture, parameters: FrameParameters, vertices: Floats) -> NDArray[np.uint8]:
        """(448, 1152, 3) uint8 RGB.

        picture: (256, 256, 3) RGB the fit is of; parameters: the fit; vertices: (478, 3) its posed mesh, pixels.
        A frame with confidence 0 is drawn without the mesh.
        """
        cv2 = self._cv2
        canvas = np.full((HEIGHT, WIDTH, 3), _GROUND, np.uint8)
        large = np.asarray(cv2.resize(picture, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC), np.uint8)
        seen = parameters.confidence > 0.0
        canvas[:, :PANEL] = self._mesh(large.copy(), parameters, vertices) if seen else large
        canvas[:, PANEL : 2 * PANEL] = self._pncc(large, vertices) if seen else large
        self._bars(canvas[:, 2 * PANEL :], parameters)
        return canvas

    def _mesh(self, panel: NDArray[np.uint8], parameters: FrameParameters, vertices: Floats) -> NDArray[np.uint8]:
        cv2, shift = self._cv2, 4
        points = np.round(np.clip(vertices[:, :2] * (PANEL / SIZE), -4000, 4000) * (1 << shift)).astype(np.int32)
        cv2.polylines(panel, list(points[self._edges]), False, _EDGE, 1, cv2.LINE_AA, shift)
        if len(points) == 478:
            for iris in (points[469:473], points[474:478]):
                cv2.polylines(panel, [iris], True, _IRIS, 1, cv2.LINE_AA, shift)
        camera = parameters.camera
        origin = vertices.mean(axis=0)[:2]
        arrows = rotation_matrix(camera.rotation).T * (1.1 * camera.scale)
        for arrow, colour in zip(arrows * ((1.0,), (1.0,), (-1.0,)), _AXES, strict=True):
            start, end = self._pixel(origin), self._pixel(origin + arrow[:2])
            cv2.arrowedLine(panel, start, end, colour, 2, cv2.LINE_AA, 0, 0.12)
        return panel

    @staticmethod
    def _pixel(point: NDArray[Any]) -> tuple[int, int]:
        x, y = np.clip(np.nan_to_num(point) * (PANEL / SIZE), -4000, 4000)
        return round(float(x)), round(float(y))

    def _pncc(self, panel: NDArray[np.uint8], vertices: Floats) -> NDArray[np.uint8]:
        cv2 = self._cv2
        visibility = raster.rasterise(vertices, self._model.triangles)
        colour = np.clip(raster.pncc(visibility, self._colours) * 255.0, 0, 255).astype(np.uint8)
        size = (PANEL, PANEL)
        colour = np.asarray(cv2.resize(colour, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        mask = cv2.resize(visibility.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        mixed = (0.25 * panel + 0.75 * colour).astype(np.uint8)
        return np.where(mask[..., None], mixed, panel)

    def _bars(self, panel: NDArray[np.uint8], parameters: FrameParameters) -> None:
        cv2 = self._cv2
        step, middle, half = 12, BARS // 2 + 12, BARS // 2 - 20
        for number, value in enumerate(parameters.expression):
            top = 8 + step * number
            length = round(half * float(np.clip(value / FULL_BAR, -1.0, 1.0)))
            colour = _POSITIVE if length >= 0 else _NEGATIVE
            cv2.rectangle(panel, (middle, top), (middle + length, top + step - 4), colour, -1)
            self._write(panel, f"{number + 1}", 4, top + step - 4)
        bottom = 8 + step * len(parameters.expression)
        cv2.line(panel, (middle, 4), (middle, bottom), _TEXT, 1)
        camera = parameters.camera
        pitch, yaw, roll = np.degrees(camera.rotation)
        x, y = camera.translation[:2]
        for line, text in enumerate(
            (
                f"pitch {pitch:+.1f}  yaw {yaw:+.1f}  roll {roll:+.1f}",
                f"scale {camera.scale:.1f} px  at {x:.1f}, {y:.1f}",
                f"confidence {parameters.confidence:.2f}",
            )
        ):
            self._write(panel, text, 4, bottom + 18 + 18 * line)

    def _write(self, panel: NDArray[np.uint8], text: str, x: int, y: int) -> None:
        self._cv2.putText(panel, text, (x, y), self._cv2.FONT_HERSHEY_SIMPLEX, 0.36, _TEXT, 1, self._cv2.LINE_AA)


def draw_fits(source_path: Path, target: Path, crop: str, model: FaceModel, fitter: Fitter) -> None:
    """Fit a video again, frame by frame, and write what ``FitDrawer`` shows of it as H.264.

    fitter: with the identity found before. A frame without a face shows the picture alone. Raises UsageError if the
    target cannot be written; nothing half written stays.
    """
    import av
    from av.error import FFmpegError

    from sender.capture import open_source
    from sender.tracking import FaceTracker

    drawer = FitDrawer(model)
    nothing = np.zeros_like(model.mean)
    lost = FrameParameters(
        np.zeros(len(model.expression_basis), np.float32), Camera(1.0, nothing[0], nothing[0]), confidence=0.0
    )
    fitter.restart()
    partial = target.with_name(f"{target.stem}.partial{target.suffix or '.mp4'}")
    try:
        with (
            open_source(source_path, None, realtime=False) as source,
            FaceTracker(crop) as tracker,
            av.open(str(partial), "w", format="mp4") as container,
        ):
            stream = container.add_stream("libx264", Fraction(source.fps).limit_denominator(1001), {"crf": "20"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for captured in source:
                tracked = tracker.track(captured.picture)
                parameters, vertices = lost, nothing
                if tracked.landmarks is not None:
                    result = fitter.fit(tracked.landmarks)
                    if not result.lost:
                        parameters, vertices = result.parameters, fitter.vertices(result.parameters)
                picture = drawer.frame(tracked.picture, parameters, vertices)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        partial.replace(target)
    except (OSError, FFmpegError) as error:
        raise UsageError(f"cannot write {target}: {error}; choose another place") from error
    finally:
        partial.unlink(missing_ok=True)
