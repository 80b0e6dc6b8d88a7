"""TensorBoard events: a listener that copies metrics.jsonl to `RUN/tensorboard`, for `tensorboard --logdir`.

* Every number of metrics.jsonl becomes a scalar under the name it has there, at its step.
* Nothing needs to be installed to write them. An event is a protobuf message of three or four fields, and a file is such
  messages in records with checksums: a page of code, where the usual writer brings a server along and puts the machine's
  name into the name of the file.
* metrics.jsonl is the one truth. A run that is resumed cuts it back to a checkpoint; its events are then written anew from
  what is left, and the file begins with the mark at which TensorBoard forgets what it has read: no point is there twice.
* What was logged before is given the time that it would have had in a training without a pause.

Layouts: https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto (and summary.proto),
https://www.tensorflow.org/tutorials/load_data/tfrecord. Checksum: CRC-32C, RFC 3720, appendix B.4.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anyformer import plugins
from anyformer.hookspecs import hookimpl

FOLDER = "tensorboard"
"""In the run's folder."""
LOG = "metrics.jsonl"
PREFIX = "events.out.tfevents."
"""What TensorBoard knows its files by."""


class TensorBoard:
    """A listener that writes the events of each run: `anyformer.plugins.register(TensorBoard())`.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._file: Path | None = None
        self._read = 0
        """Bytes of the log that have been copied."""

    @hookimpl
    def anyformer_run_started(self, run: Path) -> None:
        """Begin a file with what the log holds already; the file of before is emptied."""
        folder = run / FOLDER
        folder.mkdir(exist_ok=True)
        self._file, self._read = folder / f"{PREFIX}{int(self._clock() * 1e6)}", 0
        lines = list(self._new_lines(run))
        end = max((line.get("seconds") or 0.0 for line in lines), default=0.0)
        now, seconds = self._clock(), 0.0
        records = [event(now - end, version="brain.Event:2"), event(now - end, restarts=True)]
        for line in lines:
            seconds = line.get("seconds") or seconds
            records.append(event(now - end + seconds, line["step"], scalars(line)))
        self._file.write_bytes(b"".join(map(record, records)))
        for other in folder.glob(f"{PREFIX}*"):
            if other != self._file:
                _retire(other)

    @hookimpl
    def anyformer_step_ended(self, run: Path) -> None:
        """Copy what is new."""
        self._copy(run)

    @hookimpl
    def anyformer_checkpoint_saved(self, run: Path) -> None:
        """Copy what is new: an evaluation came after the step."""
        self._copy(run)

    @hookimpl
    def anyformer_run_ended(self, run: Path) -> None:
        """Copy the rest."""
        self._copy(run)
        self._file = None

    def _copy(self, run: Path) -> None:
        if self._file is not None:
            found = [event(self._clock(), line["step"], scalars(line)) for line in self._new_lines(run)]
            with self._file.open("ab") as file:
                file.write(b"".join(map(record, found)))

    def _new_lines(self, run: Path) -> Iterator[dict[str, Any]]:
        """Whole lines of the log that have not been read."""
        if not (run / LOG).exists():
            return
        with (run / LOG).open("rb") as file:
            file.seek(self._read)
            for text in file:
                if not text.endswith(b"\n"):
                    break
                self._read += len(text)
                yield json.loads(text)


@contextmanager
def listening(wanted: bool) -> Iterator[None]:
    """Within it, runs write their events, if that is wanted."""
    listener = TensorBoard()
    if wanted:
        plugins.register(listener)
    try:
        yield
    finally:
        plugins.unregister(listener)


def _retire(file: Path) -> None:
    """Empty a file, or remove it if it is empty: TensorBoard never goes on to the next if the file it reads is gone."""
    if file.stat().st_size:
        file.write_bytes(b"")
    else:
        file.unlink()


def scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of the log by name; a loss that was not finite is null there, and leaves a gap."""
    return {name: value for name, value in line.items() if name != "step" and type(value) in (int, float)}


def event(
    seconds: float, step: int = 0, values: Mapping[str, float] | None = None, version: str = "", restarts: bool = False
) -> bytes:
    """A message `Event`.

    Args:
        seconds: when, since 1970.
        step: the x-axis.
        values: scalars by name.
        version: of the layout; the first event of a file has nothing else.
        restarts: what was read of this step and later ones is void.
    """
    found = struct.pack("<Bd", 1 << 3 | 1, seconds) + (bytes([2 << 3]) + _varint(step) if step else b"")
    if version:
        found += _field(3, version.encode())
    if values:
        found += _field(5, b"".join(_field(1, _value(name, value)) for name, value in values.items()))
    if restarts:
        found += _field(7, bytes([1 << 3, 1]))  # a session log with the status START
    return found


def record(data: bytes) -> bytes:
    """A record of a file: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _value(name: str, value: float) -> bytes:
    """A message `Summary.Value`: a tag and a number of 32 bits."""
    try:
        number = struct.pack("<f", value)
    except OverflowError:  # finite, but not in 32 bits
        number = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _field(1, name.encode()) + bytes([2 << 3 | 5]) + number


def _field(number: int, data: bytes) -> bytes:
    """A field of variable length."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the least first; the highest bit says that there are more."""
    found = bytearray()
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = tuple(map(_crc_of_byte, range(256)))


def _checksum(data: bytes) -> bytes:
    """CRC-32C, turned and shifted as records have it, so that a checksum over a checksum says something."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
