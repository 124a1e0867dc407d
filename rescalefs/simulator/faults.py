"""The fault script: which requests go wrong, and how. Pure but for the counting.

A fault is used at most ``times`` times, after ``skip`` requests that it fits were let through. All faults
that fit a request apply to it together.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from rescalefs.simulator.settings import CannotServe

LAG = "rescalefs.simulator.lag"  # in an ASGI scope: the seconds by which this request sees the past


class Effect(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """What goes wrong."""


class Latency(Effect, frozen=True, tag="latency"):
    """The answer begins late."""

    seconds: float


class Bandwidth(Effect, frozen=True, tag="bandwidth"):
    """The body comes slowly."""

    bytes_per_second: float


class Cut(Effect, frozen=True, tag="cut"):
    """The connection is closed after so many bytes of the body."""

    after: int


class Corrupt(Effect, frozen=True, tag="corrupt"):
    """One byte is wrong, the one at this offset of the file. Fits only ranges that have it."""

    at: int


class Short(Effect, frozen=True, tag="short"):
    """The body lacks so many bytes at its end, and Content-Length agrees; Content-Range does not."""

    by: int


class IgnoreRange(Effect, frozen=True, tag="ignore-range"):
    """200 and the whole file, whatever range was asked for."""


class WrongContentRange(Effect, frozen=True, tag="wrong-content-range"):
    """Content-Range tells of other bytes than those that come."""

    shift: int = 1


class Status(Effect, frozen=True, tag="status"):
    """An error in place of the answer; ``acted``: although what was asked for has been done."""

    status: int
    acted: bool = False
    retry_after: float | str | None = None  # seconds, or the header's text as it is: a date, or nonsense
    html: bool = False  # as a proxy before the service would say it


class Drop(Effect, frozen=True, tag="drop"):
    """The connection is closed without any answer; ``acted``: although what was asked for has been done."""

    acted: bool = False


class Hang(Effect, frozen=True, tag="hang"):
    """No answer, ever; the connection stays open until the client or the simulator gives up."""


class Lag(Effect, frozen=True, tag="lag"):
    """Jobs made within the last ``seconds`` are not known yet, as at a replica that lags behind."""

    seconds: float


class Redirect(Effect, frozen=True, tag="redirect"):
    """302 to another host: ``to`` is scheme and host, the path and the query are kept."""

    to: str


AnyEffect: TypeAlias = (
    Latency
    | Bandwidth
    | Cut
    | Corrupt
    | Short
    | IgnoreRange
    | WrongContentRange
    | Status
    | Drop
    | Hang
    | Lag
    | Redirect
)


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests, how often, and what happens to them."""

    effect: AnyEffect
    path: str = ""  # a regular expression that is found somewhere in the path
    method: str | None = None  # None: any
    skip: int = 0
    times: int | None = 1  # None: always

    def fits(self, method: str, path: str, range_header: str | None) -> bool:
        """Whether it is about this request."""
        if self.method is not None and self.method.upper() != method:
            return False
        if re.search(self.path, path) is None:
            return False
        return not isinstance(self.effect, Corrupt) or _covers(range_header, self.effect.at)


class FaultScript:
    """The faults there are, and how often each was used. Thread-safe."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()  # guards all below
        self._faults: list[Fault] = []
        self._fitted: list[int] = []
        self._used: list[int] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """More faults, after those that are there."""
        for fault in faults:
            re.compile(fault.path)  # a wrong expression fails here and not in a request
        with self._lock:
            self._faults.extend(faults)
            self._fitted.extend(0 for _ in faults)
            self._used.extend(0 for _ in faults)

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()
            self._fitted.clear()
            self._used.clear()

    def take(self, method: str, path: str, range_header: str | None) -> list[AnyEffect]:
        """What goes wrong with this request; it counts as used."""
        effects = []
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.times is not None and self._used[index] >= fault.times:
                    continue
                if not fault.fits(method, path, range_header):
                    continue
                self._fitted[index] += 1
                if self._fitted[index] > fault.skip:
                    self._used[index] += 1
                    effects.append(fault.effect)
        return effects

    def report(self) -> list[dict[str, Any]]:
        """Every fault as JSON has it, and how often it was ``used``."""
        with self._lock:
            pairs = list(zip(self._faults, self._used, strict=True))
        return [{**msgspec.to_builtins(fault), "used": used} for fault, used in pairs]

    def unused(self) -> list[Fault]:
        """Faults that never happened: a test that ends with one has not tested what it meant to."""
        with self._lock:
            return [fault for fault, used in zip(self._faults, self._used, strict=True) if not used]


def faults_from(document: Any) -> list[Fault]:
    """The faults of a script: a list, or one alone; `ValueError` says what is wrong."""
    listed = document if isinstance(document, list) else [document]
    faults = msgspec.convert(listed, list[Fault])
    try:
        for fault in faults:
            re.compile(fault.path)
    except re.error as error:
        raise ValueError(f"{error.pattern!r} is not a regular expression: {error}") from error
    return faults


def read_script(path: Path) -> list[Fault]:
    """The faults of a file; `CannotServe` if it cannot be read."""
    try:
        return faults_from(msgspec.json.decode(path.read_bytes()))
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        raise CannotServe(f"cannot read the fault script {path}: {error}") from error


def _covers(range_header: str | None, offset: int) -> bool:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", range_header or "")
    if match is None:
        return True
    return int(match[1]) <= offset and (not match[2] or offset <= int(match[2]))
