"""``--log tensorboard``: event files that ``tensorboard --logdir`` shows, written without torch or TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from benchmark.logs.run_log import Point, RunLog


class TensorBoardLog(RunLog):
    """A folder a run with TensorBoard's event files."""

    def __init__(self, folder: Path, run_id: str, fresh: bool) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        place = folder / run_id
        for old in place.glob("events.out.tfevents.*") if fresh else ():
            old.unlink()
        self._writer = EventFileWriter(str(place))

    def add(self, point: Point) -> None:
        """See ``RunLog.add``."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
        self._writer.add_event(Event(wall_time=point.time, step=point.step, summary=Summary(value=values)))

    def finish(self, values: Mapping[str, float], status: str, step: int) -> None:
        """See ``RunLog.finish``."""
        self.add(Point(step, time.time(), values, ""))
        self.close()

    def close(self) -> None:
        """See ``RunLog.close``."""
        self._writer.close()
