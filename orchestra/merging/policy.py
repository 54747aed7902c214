"""Which pieces may stand in any order, and what they are called. Pure."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestra.merging.definitions import is_definition, is_import
from orchestra.merging.trees import Piece

if TYPE_CHECKING:
    from tree_sitter import Node

LISTS = re.compile(
    r".*(argument|parameter)s?(_list)?|list|array(_expression)?|set|dictionary|object|tuple|literal_value"
    r"|enum_(body|variant_list|member_declaration_list)|enumerator_list|field_initializer_list|use_list|named_imports"
)
UNORDERED_LISTS = ("list", "array", "array_expression", "set", "dictionary", "object", "use_list", "named_imports")
NAMED_ELEMENTS = (
    "keyword_argument",
    "pair",
    "block_mapping_pair",
    "import_specifier",
    "export_specifier",
    "field_initializer",
)
# Members of a type that no language of these initialises by position.
MEMBERS = ("property_signature", "public_field_definition", "field_definition", "field_declaration")
MEMBERS_BY_NAME = ("rust", "typescript", "tsx", "java", "csharp", "javascript", "kotlin")
LITERALS = ("string", "integer", "float", "true", "false", "none", "number", "number_literal")


def is_list(sides: Sequence[Piece]) -> bool:
    """Whether it is a row of elements between commas."""
    if any(child.type == "," for side in sides for child in side.node.children):
        return True
    return all(LISTS.fullmatch(side.kind) for side in sides)


def is_unordered(piece: Piece, whole: Piece | None) -> bool:
    """Whether two such pieces may stand in any order: in a list, or as lines of their own."""
    node = piece.node
    if piece.kind in NAMED_ELEMENTS or is_member(piece):
        return True
    if "spread" in piece.kind or "splat" in piece.kind:
        return False  # it overrides what stands before it
    if whole is None:
        return is_definition(node) or is_import(node) or is_constant(node)
    if "enum" in whole.kind:
        return node.child_by_field_name("value") is not None
    return is_import(whole.node) or whole.kind in UNORDERED_LISTS


def is_member(piece: Piece) -> bool:
    return piece.kind in MEMBERS and piece.source.language in MEMBERS_BY_NAME


def is_constant(node: "Node") -> bool:
    """Whether it gives a name to a plain value, outside of definitions: class members may be ordered."""
    if node.type != "assignment" or node.parent is None or node.parent.parent is not None:
        return False
    value, name = node.child_by_field_name("right"), node.child_by_field_name("left")
    return bool(value and name and value.type in LITERALS and name.type == "identifier")


def is_docstring(node: "Node") -> bool:
    """Whether it is a string that stands alone as a statement, or the content of one."""
    if node.parent is None or node.type not in ("string", "string_content"):
        return False
    return node.parent.type in ("module", "block", "expression_statement") or is_docstring(node.parent)


def name_kind(piece: Piece, whole: Piece | None) -> str:
    """Return what the report calls such pieces."""
    if is_import(piece.node) or (whole and is_import(whole.node)):
        return "imports"
    if whole is None and piece.kind not in NAMED_ELEMENTS:
        return "definitions" if is_definition(piece.node) else "statements"
    if whole and ("parameter" in whole.kind or "argument" in whole.kind):
        return "parameters" if "parameter" in whole.kind else "arguments"
    return "entries" if piece.kind in NAMED_ELEMENTS or not whole or whole.kind in UNORDERED_LISTS else "elements"
