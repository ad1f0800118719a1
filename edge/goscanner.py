"""Go's JSON scanner, for its verdict and its words: where the first value ends, or which character was wrong and in what place.

Only used for texts that the fast parser refused. Source: Go 1.26 encoding/json/scanner.go, decode.go (texts of SyntaxError).
"""

from __future__ import annotations

from collections.abc import Set

WHITE = b" \t\r\n"
SPACE = frozenset(WHITE)
DIGITS = frozenset(b"0123456789")
HEX = frozenset(b"0123456789abcdefABCDEF")
ESCAPED = frozenset(b'"\\/bfnrtu')
OPEN = frozenset(b"{[")
MAX_DEPTH = 10000


class JsonError(ValueError):
    """The text is no JSON, or JSON of another kind than asked for; the message is Go's."""


class _Scanner:
    """One pass over `data`; `end` is the text of the error when the input ends too early."""

    def __init__(self, data: bytes, end: str) -> None:
        self.data, self.at, self.end = data, 0, end

    def wrong(self, context: str) -> JsonError:
        """Go's SyntaxError at the current place."""
        if self.at >= len(self.data):
            return JsonError(self.end)
        return JsonError(f"invalid character {quote_char(self.data[self.at])} {context}")

    def peek(self) -> int:
        """The current byte, -1 at the end."""
        return self.data[self.at] if self.at < len(self.data) else -1

    def space(self) -> None:
        while self.at < len(self.data) and self.data[self.at] in SPACE:
            self.at += 1

    def expect(self, chars: Set[int], context: str) -> int:
        char = self.peek()
        if char not in chars:
            raise self.wrong(context)
        self.at += 1
        return char

    def value(self) -> None:
        """One value. Nesting is kept on a list, so that depth is Go's limit and not Python's."""
        open_: list[int] = []
        while True:
            self.space()
            if self.peek() in OPEN:
                open_.append(self.expect(OPEN, ""))
                if len(open_) > MAX_DEPTH:
                    raise JsonError(f"invalid character {quote_char(open_[-1])} exceeded max depth")
                if not self._empty(open_):
                    continue
            else:
                self._scalar()
            while open_ and self._after(open_):
                open_.pop()
            if not open_:
                return

    def _empty(self, open_: list[int]) -> bool:
        """After an opening bracket: True when it was closed at once (and popped); else the first key was read."""
        self.space()
        if open_[-1] == 0x5B:
            if self.peek() == 0x5D:
                self.at += 1
                open_.pop()
                return True
            return False
        if self.peek() == 0x7D:
            self.at += 1
            open_.pop()
            return True
        self._key()
        return False

    def _after(self, open_: list[int]) -> bool:
        """After a value inside a container: True when that closed it; else the next element (or key) comes."""
        self.space()
        if open_[-1] == 0x5B:
            return self.expect(frozenset(b",]"), "after array element") == 0x5D
        if self.expect(frozenset(b",}"), "after object key:value pair") == 0x7D:
            return True
        self.space()
        self._key()
        return False

    def _key(self) -> None:
        if self.peek() != 0x22:
            raise self.wrong("looking for beginning of object key string")
        self._string()
        self.space()
        self.expect(frozenset(b":"), "after object key")

    def _scalar(self) -> None:
        match self.peek():
            case 0x22:
                self._string()
            case 0x74:
                self._literal(b"true")
            case 0x66:
                self._literal(b"false")
            case 0x6E:
                self._literal(b"null")
            case char if char == 0x2D or char in DIGITS:
                self._number()
            case _:
                raise self.wrong("looking for beginning of value")

    def _literal(self, word: bytes) -> None:
        for char in word:
            self.expect(frozenset((char,)), f"in literal {word.decode()} (expecting {quote_char(char)})")

    def _string(self) -> None:
        self.at += 1
        while (char := self.peek()) != 0x22:
            if char < 0x20:
                raise self.wrong("in string literal")
            self.at += 1
            if char == 0x5C and self.expect(ESCAPED, "in string escape code") == 0x75:
                for _ in range(4):
                    self.expect(HEX, "in \\u hexadecimal character escape")
        self.at += 1

    def _number(self) -> None:
        if self.peek() == 0x2D:
            self.at += 1
        if self.expect(DIGITS, "in numeric literal") != 0x30:
            self._digits()
        if self.peek() == 0x2E:
            self.at += 1
            self.expect(DIGITS, "after decimal point in numeric literal")
            self._digits()
        if self.peek() in (0x65, 0x45):
            self.at += 1
            if self.peek() in (0x2B, 0x2D):
                self.at += 1
            self.expect(DIGITS, "in exponent of numeric literal")
            self._digits()

    def _digits(self) -> None:
        while self.peek() in DIGITS:
            self.at += 1


def scan(data: bytes, *, stream: bool = False) -> int:
    """The index after the first value of `data`. Raises JsonError with Go's text.

    stream: as json.Decoder does (what follows is not looked at, an empty text is "EOF"), else as json.Unmarshal.
    """
    scanner = _Scanner(data, "unexpected EOF" if stream else "unexpected end of JSON input")
    if stream and not data.strip(WHITE):
        raise JsonError("EOF")
    scanner.value()
    if not stream:
        end = scanner.at
        scanner.space()
        if scanner.at < len(data):
            raise scanner.wrong("after top-level value")
        return end
    return scanner.at


def quote_char(char: int) -> str:
    """A byte as Go's quoteChar writes it: `'x'`, `'\\''`, `'"'`; Latin-1 for what is no ASCII, escapes for control characters."""
    if char == 0x27:
        return "'\\''"
    if char == 0x22:
        return "'\"'"
    named = {0x07: "\\a", 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x0B: "\\v", 0x5C: "\\\\"}
    if char in named:
        return f"'{named[char]}'"
    text = chr(char)
    return f"'{text}'" if text.isprintable() else f"'\\x{char:02x}'" if char < 0x80 else f"'\\u{char:04x}'"
