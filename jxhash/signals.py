"""How a process reacts to SIGTERM and Ctrl-C."""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from jxhash.errors import PREEMPTED

# The SIGTERMs received within `stop_event`.
_heard: list[int] = []


def leave_at_sigterm() -> None:
    """From now on SIGTERM ends the process at once with one line and exit code 143; saves nothing.

    This includes long compiled code and waiting for another process, where Python's signal handlers
    do not run, and callbacks of C code, where their exceptions are lost. `stop_event` overrides it.
    """
    _listen()
    signal.signal(signal.SIGTERM, _leave)


@contextlib.contextmanager
def ending_at_ctrl_c() -> Iterator[None]:
    """Within it Ctrl-C ends the process at once, even while compiled code waits."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def stop_event() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; never set outside the main thread, where none comes.

    A second signal acts as it would outside, at once; so does the first on leaving the context, in
    case it came after the last check of the event.
    """
    event = threading.Event()
    last: int = signal.SIGTERM
    _heard.clear()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)

    def stop(number: int, _: Any) -> None:
        nonlocal last
        if not event.is_set():
            last = number
            event.set()
            return
        signal.signal(number, before[number])
        signal.raise_signal(number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield event
    finally:
        for number in numbers:
            signal.signal(number, before[number])
    if event.is_set():
        signal.raise_signal(last)


@functools.cache
def _listen() -> None:
    """Starts the thread that receives signals before Python's handlers run."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    threading.Thread(target=_hear, args=(reading,), name="signals", daemon=True).start()


def _hear(reading: int) -> None:
    while numbers := os.read(reading, 64):
        new = [number for number in numbers if number == signal.SIGTERM]
        _heard.extend(new)
        # Within `stop_event`: the second one.
        if new and (signal.getsignal(signal.SIGTERM) is _leave or len(_heard) > 1):
            _leave()


def _leave(*_: Any) -> None:
    os.write(2, b"jxhash: stopped; the same command resumes from here\n")
    os._exit(PREEMPTED)
