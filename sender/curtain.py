"""The sender's background: replaced before anything is coded, so that the room never leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.backdrop import Backdrop
from sender.tracking import FaceTracker, Tracked


class CurtainedTracker(FaceTracker):
    """A ``FaceTracker`` whose pictures have another background; landmarks are those of the real one."""

    def __init__(self, tracker: FaceTracker, backdrop: Backdrop) -> None:
        self._tracker = tracker
        self._backdrop = backdrop

    def track(self, picture: NDArray[np.uint8]) -> Tracked:
        tracked = self._tracker.track(picture)
        return replace(tracked, picture=self._backdrop.apply(tracked.picture, tracked.window))

    def close(self) -> None:
        self._tracker.close()


def with_background(tracker: FaceTracker, background: str | None) -> FaceTracker:
    """The tracker, behind a curtain where one was asked for: ``blur`` or a picture file. Raises UsageError for a file that is none."""
    return tracker if background is None else CurtainedTracker(tracker, Backdrop(background))


def photo_with_background(photo: Tracked, background: str | None) -> Tracked:
    """A user's own photo, treated as the frames are."""
    return photo if background is None else replace(photo, picture=Backdrop(background).still(photo.picture))
