"""Text files of users, in UTF-8 or UTF-16, with messages that name the line."""

import codecs
import pathlib
import re
from collections.abc import Iterable, Iterator

from jxhash.errors import UserError


def decoded(where: object, content: bytes) -> str:
    """Decodes UTF-8, with or without a byte order mark, and UTF-16 with one.

    Raises:
      UserError: it is in another encoding; the message has `where` and the line.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}, line {line}: not in UTF-8; save it in UTF-8") from error


def read_text(file: pathlib.Path) -> str:
    """Reads a text file, see `decoded`.

    Raises:
      UserError: it cannot be read, or is in another encoding.
    """
    try:
        return decoded(file, file.read_bytes())
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error})") from error


def lines_of(text: str) -> list[str]:
    r"""The lines of a text of any system, without their ends.

    >>> lines_of("a\r\n\nb\n"), lines_of("")
    (['a', '', 'b'], [])
    """
    # Not splitlines: a line may hold other line separators.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def read_lines(file: pathlib.Path) -> list[str]:
    """The lines of a text file, see `lines_of`.

    Raises:
      UserError: as `read_text`.
    """
    return lines_of(read_text(file))


def whole_number(text: str) -> int | None:
    """A whole number in ASCII digits, not negative; None for any other text.

    >>> whole_number(" 12 "), whole_number("-1"), whole_number("²")
    (12, None, None)
    """
    return int(text) if re.fullmatch(r"\s*[0-9]{1,15}\s*", text) else None


def numbered(where: object, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields where it stands ("FILE, line 1") and the stripped text of each line with any."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{where}, line {number}", line.strip()
