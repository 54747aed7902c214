"""Read a text as a tree of pieces, by the grammars that aider brings. Pure.

A piece is a node of the tree with the whole lines that it fills. What lies between two pieces (blank lines, comments)
is the gap before the second. So pieces and gaps joined are the text again, byte for byte.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

BLANK = b" \t\f"
NEWLINE, RETURN = b"\n\r"
# Grammars of what has no order or names that a tree could tell.
PROSE = ("csv", "gitattributes", "gitignore", "markdown", "po", "pymanifest", "requirements", "rst", "tsv")
WRAPPERS = ("decorated_definition", "export_statement")


@dataclass(frozen=True)
class Source:
    """A text and its tree."""

    data: bytes
    language: str
    root: "Node"

    def is_comment(self, node: "Node") -> bool:
        return node.is_extra and "comment" in node.type


@dataclass(frozen=True)
class Piece:
    """The bytes start:stop of a source, which one node fills."""

    source: Source
    node: "Node"
    start: int
    stop: int

    @property
    def text(self) -> bytes:
        return self.source.data[self.start : self.stop]

    @property
    def kind(self) -> str:
        return self.node.type

    @property
    def fills_lines(self) -> bool:
        return self.text.endswith(b"\n")

    def split_lines(self) -> "Parts":
        """Split it into its children, each with the whole lines that it fills."""
        nodes = [node for node in self.node.children if node.start_byte < node.end_byte]
        pieces = [
            self.fill_lines(node, following)
            for node, following in zip_longest(nodes, nodes[1:])
            if not self.source.is_comment(node)
        ]
        return self.as_parts([piece for piece in pieces if piece.start < piece.stop])

    def split_list(self) -> "Parts":
        """Split it into the elements of its list; the separators lie in the gaps."""
        pieces = [Piece(self.source, node, node.start_byte, node.end_byte) for node in self.elements()]
        if pieces or not self.node.children:
            return self.as_parts(pieces)
        inside = self.node.children[0].end_byte
        return Parts([], [self.source.data[self.start : inside], self.source.data[inside : self.stop]])

    def wrapped(self) -> "Parts":
        """Return it as the only piece inside of itself, to compare it with one that has decorators."""
        return Parts([self], [b"", b""])

    def border_lines(self) -> set[int]:
        return {self.node.start_point.row, self.node.end_point.row}

    def as_parts(self, pieces: "list[Piece]") -> "Parts":
        borders = [self.start, *(at for piece in pieces for at in (piece.start, piece.stop)), self.stop]
        if any(one > two for one, two in pairwise(borders)):
            return Parts([], [self.text])
        data = self.source.data
        return Parts(pieces, [data[a:b] for a, b in zip(borders[::2], borders[1::2], strict=True)])

    def elements(self) -> "list[Node]":
        """Return the nodes between the commas: the last run of named nodes, before what closes the list."""
        nodes = [node for node in self.node.children if not self.source.is_comment(node)]
        while nodes and not nodes[-1].is_named and nodes[-1].type != ",":
            nodes.pop()
        run: list[Node] = []
        while nodes and (nodes[-1].is_named or nodes[-1].type == ","):
            run.append(nodes.pop())
        return [node for node in reversed(run) if node.is_named]

    def fill_lines(self, node: "Node", following: "Node | None") -> "Piece":
        """Return a child with the indentation before it, and the comment and newline behind it."""
        data, start, stop = self.source.data, node.start_byte, node.end_byte
        line = start
        while line > self.start and data[line - 1] in BLANK:
            line -= 1
        if line == 0 or data[line - 1] == NEWLINE:
            start = line
        at = self.skip_blanks(stop)
        if at < self.stop and data[at] not in (NEWLINE, RETURN):
            beside = following or self.source.root.descendant_for_byte_range(at, at + 1)
            if beside and "comment" in beside.type and beside.start_byte == at:
                at = self.skip_blanks(beside.end_byte)
        at += at < self.stop and data[at] == RETURN
        return Piece(
            self.source, node, start, at + 1 if at < self.stop and data[at] == NEWLINE else min(stop, self.stop)
        )

    def skip_blanks(self, at: int) -> int:
        while at < self.stop and self.source.data[at] in BLANK:
            at += 1
        return at


@dataclass(frozen=True)
class Parts:
    """Pieces in a row, with the gap before each and the one behind the last."""

    pieces: list[Piece]
    gaps: list[bytes]

    def slice(self, start: int, stop: int) -> "list[Placed]":
        return [
            Placed(self.pieces[n], self.gaps[n], self.gaps[n or min(1, len(self.pieces) - 1)])
            for n in range(start, stop)
        ]


@dataclass(frozen=True)
class Placed:
    """A piece, the gap before it, and the gap that it needs if another piece comes before it."""

    piece: Piece
    gap: bytes
    inner_gap: bytes

    @property
    def text(self) -> bytes:
        return self.piece.text

    @property
    def content(self) -> bytes:
        return self.piece.text.strip()


def parse_text(path: str, text: str) -> Source | None:
    """Parse the text. None if no grammar knows the file."""
    language = find_language(path)
    parser = find_parser(language) if language else None
    if parser is None:
        return None
    data = text.encode("utf-8", "surrogatepass")
    return Source(data, language, parser.parse(data).root_node)


def find_language(path: str) -> str:
    from grep_ast import filename_to_lang

    language = filename_to_lang(path) or ("yaml" if path.endswith((".yaml", ".yml")) else "")
    return "" if language in PROSE else language


@lru_cache(maxsize=16)
def find_parser(language: str) -> "Parser | None":
    from grep_ast.tsl import get_parser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parser: Parser = get_parser(language)
        except (LookupError, OSError, TypeError, ValueError):
            return None
    return parser


def as_piece(source: Source) -> Piece:
    """Return the whole text as one piece."""
    return Piece(source, source.root, 0, len(source.data))


def count_errors(source: Source, most: int = 1_000) -> int:
    """Count what the grammar could not read, up to a number."""
    if not source.root.has_error:
        return 0
    count, work = 0, [source.root]
    while work and count < most:
        node = work.pop()
        count += node.is_error or node.is_missing
        work.extend(child for child in node.children if child.has_error)
    return count
