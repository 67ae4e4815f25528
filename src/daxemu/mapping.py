"""DaxMapping: device memory in this interpreter."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, overload

from daxemu._core import Mapping
from daxemu.errors import DaxBusError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from daxemu.engine import Engine
    from daxemu.kernel.device import DevDax
    from daxemu.pmem.recorder import Recorder

__all__ = ["DaxMapping"]


class DaxMapping(Mapping):
    """A mapping of a device: bytes by index and slice, or the memory itself by the buffer protocol.

    Reading and writing slices of a revoked range raises DaxBusError. ``memoryview(m)``,
    ``numpy.frombuffer(m, …)`` and the like are the memory itself, without a copy: a touch of a
    revoked range there is SIGBUS, as in any program.
    """

    _engine: Engine | None = None  # what is durable is recorded for it, if anybody wants to know
    _device: DevDax
    _start: int

    def _belongs_to(self, engine: Engine, device: DevDax, start: int) -> None:
        self._engine, self._device, self._start = engine, device, start

    def __enter__(self) -> DaxMapping:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``. Raises DaxBusError where SIGBUS would be, IndexError outside."""
        result = self._read(offset, length)
        if isinstance(result, int):
            raise DaxBusError(
                f"cannot read byte {result} of the mapping: revoked, poisoned, or past the device", result
            )
        return result

    def write(self, offset: int, data: ReadableBuffer) -> None:
        """Store ``data`` at ``offset``. Raises DaxBusError where SIGBUS would be, IndexError outside."""
        stopped = self._write(offset, data)
        if stopped is not None:
            raise DaxBusError(
                f"cannot write byte {stopped} of the mapping: revoked, poisoned, past the device, or read-only", stopped
            )

    def _bounds(self, key: slice) -> tuple[int, int]:
        start, stop, step = key.indices(len(self))
        if step != 1:
            raise IndexError("a slice of device memory has step 1")
        return start, max(stop - start, 0)

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        if isinstance(key, slice):
            return self.read(*self._bounds(key))
        return self.read(key + len(self) if key < 0 else key, 1)[0]

    def __setitem__(self, key: int | slice, value: int | ReadableBuffer) -> None:
        if isinstance(key, int):
            if not isinstance(value, int):
                raise TypeError("one byte is an int from 0 to 255")
            self.write(key + len(self) if key < 0 else key, bytes([value]))
            return
        if isinstance(value, int):
            raise TypeError("a slice takes bytes, not an int")
        start, length = self._bounds(key)
        data = memoryview(value).cast("B")
        if len(data) != length:
            raise ValueError(f"{len(data)} bytes do not fit into a slice of {length}: memory cannot grow")
        self.write(start, data)

    @property
    def _recorder(self) -> Recorder | None:
        return self._engine._recorders.get(self._device) if self._engine is not None else None

    @property
    def _recorders(self) -> tuple[Recorder, ...]:
        """Of all devices: a fence is one for whatever its thread has flushed."""
        return tuple(self._engine._recorders.values()) if self._engine is not None else ()

    def flush(self, offset: int = 0, length: int | None = None) -> None:
        """Flush the cache lines of a range, by default of all (clwb): once this thread drains, they are durable.

        What is emulated needs no flush; it matters where the device is recorded, and for
        ``DaxDevice.power_fail``. DaxBusError where SIGBUS would be, IndexError outside.
        """
        amount = self._amount(offset, length)
        recorder = self._recorder
        if recorder is not None:
            recorder.flush(self, offset, amount, self._start)

    def drain(self) -> None:
        """Wait for the flushes of this thread (sfence): what they were of is durable from here on."""
        for recorder in self._recorders:
            recorder.fence()

    def persist(self, offset: int = 0, length: int | None = None) -> None:
        """``flush`` and ``drain``: the range is durable from here on."""
        amount = self._amount(offset, length)
        for recorder in self._recorders:
            if recorder is self._recorder:
                recorder.persist(self, offset, amount, self._start)
            elif recorder.flushed:
                recorder.fence()

    def _amount(self, offset: int, length: int | None) -> int:
        amount = len(self) - offset if length is None else length
        if offset < 0 or amount < 0 or offset + amount > len(self):
            raise IndexError(f"{amount} bytes at {offset} are outside the mapping of {len(self)} bytes")
        return amount

    def marker(self, text: str) -> None:
        """Leave a note in the recording of the device, if there is one: "committed 7". At most 65535 bytes."""
        recorder = self._recorder
        if recorder is not None:
            recorder.marker(text)

    def close(self) -> None:
        """Unmap. Raises BufferError while a memoryview or an array still uses the memory."""
        self._unmap()
