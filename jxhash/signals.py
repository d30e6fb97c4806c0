"""How a process hears SIGTERM and Ctrl-C."""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from jxhash.errors import PREEMPTED

# The SIGTERMs within `stop_event`.
_heard: list[int] = []


def leave_at_sigterm() -> None:
    """From now on SIGTERM ends the process at once, with a line and 143: nothing is to be saved.

    At once also in compiled code that takes long or waits for another process, to which Python's
    handlers are deaf, and in callbacks of C code, where what they raise is lost. Within
    `stop_event` signals mean something else.
    """
    _listen()
    signal.signal(signal.SIGTERM, _leave)


@contextlib.contextmanager
def dying_of_interrupts() -> Iterator[None]:
    """Within it Ctrl-C ends the process at once, though compiled code waits for something."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def stop_event() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; never set outside the main thread, where none comes.

    A second signal does what it would have done outside: who asks twice does not want to wait. So
    does the first, once all is done, where it came too late for anyone to look.
    """
    event = threading.Event()
    last = signal.SIGTERM
    _heard.clear()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    numbers = (signal.SIGTERM, signal.SIGINT)

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
    """Starts the thread that hears of signals before Python's handlers do."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    threading.Thread(target=_hear, args=(reading,), name="signals", daemon=True).start()


def _hear(reading: int) -> None:
    while numbers := os.read(reading, 64):
        new = [number for number in numbers if number == signal.SIGTERM]
        _heard.extend(new)
        # Within `stop_event` the second.
        if new and (signal.getsignal(signal.SIGTERM) is _leave or len(_heard) > 1):
            _leave()


def _leave(*_: Any) -> None:
    os.write(2, b"jxhash: stopped; the same command goes on from here\n")
    os._exit(PREEMPTED)
