"""One look at a frame: what the viewer sees of it, the field that it gets, and the picture that the memory needs.

What ``encode`` and a call share. In a file a new picture is there at once; in a call it travels, and the viewer says when it has come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codec.light import unlit
from codec.motion import MAX_MOTION
from codec.parameters import Picture, ReferenceFrame, Region
from models.generator import DrivingFrame
from models.memory import PhotoMemory
from sender.closed_loop import ClosedLoop, LoopReport, LoopState
from sender.memory import MemoryPlanner, MemorySettings


@dataclass(frozen=True, eq=False)
class Look:
    """report: of the closed loop. news: messages of a new picture, which the memory does not have yet."""

    report: LoopReport
    news: list[bytes]


class Judgement:
    """A sender's view of its viewer. Not thread-safe.

    memory: the copy of the viewer's. photos_kbps: for pictures after the first; 0: one photo.
    """

    def __init__(self, loop: ClosedLoop, memory: PhotoMemory, photos_kbps: float) -> None:
        self.loop = loop
        self.memory = memory
        self.planner = MemoryPlanner(memory, MemorySettings(photos_kbps)) if photos_kbps > 0 else None

    def came(self, reference: ReferenceFrame) -> None:
        """The viewer has another picture, and so has the memory here."""
        if reference.region is Region.WHOLE:
            self.loop.set_photo(reference.photo_id, reference.picture)

    def look(
        self,
        picture: Picture,
        frame: DrivingFrame,
        sequence: int,
        time_s: float,
        version: int,
        budget: int = MAX_MOTION,
        may_send: bool = True,
    ) -> Look:
        """picture: of the camera. frame: as the viewer paints it, without a field. version: of the identity. budget: bytes of the
        field. may_send: whether a new picture can travel now."""
        planner, encoder = self.planner, self.loop.encoder
        if planner is None:
            return Look(self.field(picture, frame, sequence, budget), [])
        seen = planner.look(picture, replace(frame, motion=encoder.field), time_s)
        encoder.mouth, encoder.eyes, encoder.important = seen.mouth, seen.eyes, seen.important
        report = self.field(seen.picture, frame, sequence, budget)
        if report.state is LoopState.COVERED:
            return Look(report, [])
        if report.state is LoopState.CHANGED:
            return Look(report, planner.renew(picture, frame, version) if may_send else [])
        if encoder.explained is not None and budget > 0:
            other = planner.photos.better(picture, replace(frame, motion=report.field), encoder.explained)
            if other is not None:
                photo = self.memory.warp.photos[other].reference
                self.loop.set_photo(other, photo.picture)
                seen = replace(seen, picture=unlit(picture, photo.light))
                report = self.field(seen.picture, frame, sequence, budget)
        if not may_send:
            return Look(report, [])
        return Look(report, planner.propose(picture, replace(frame, motion=report.field), seen, version, time_s))

    def field(self, picture: Picture, frame: DrivingFrame, sequence: int, budget: int = MAX_MOTION) -> LoopReport:
        """The field of a frame alone, from the photo that the loop paints from: again, when another has come."""
        flow = self.memory.warp.flow(frame, self.loop.encoder.photo_id)
        return self.loop.step(picture, flow, sequence, budget)
