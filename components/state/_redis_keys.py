"""SQL LIKE patterns as Redis globs."""

from __future__ import annotations

SPECIAL = "*?["
BY_LIKE = {"%": "*", "_": "?"}


def glob_of(pattern: str) -> str:
    """`%` and `_` become `*` and `?`; after a backslash a letter means itself."""
    parts, letters = [], iter(pattern)
    for letter in letters:
        if letter == "\\":
            letter = next(letters, "\\")
            parts.append(f"\\{letter}" if letter in SPECIAL + "\\]" else letter)
        elif letter in SPECIAL:
            parts.append(f"\\{letter}")
        else:
            parts.append(BY_LIKE.get(letter, letter))
    return "".join(parts)
