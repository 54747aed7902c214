"""What a text defines and imports, and under which names. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestra.merging.trees import WRAPPERS, Source

if TYPE_CHECKING:
    from tree_sitter import Node

SUFFIX = "(definition|declaration|item|specifier|spec|signature|signature_item|alias_declaration)"
DEFINITIONS = re.compile(
    r"(generator_)?(function|method|class|abstract_class|struct|interface|trait|impl|enum|union|type|mod|module|namespace"
    rf"|internal_module|constructor|record|protocol|object|macro|annotation_type)_{SUFFIX}"
    r"|method|singleton_method|class|module|type_alias_declaration|macro_definition|const_item|static_item"
)
FUNCTIONS = re.compile(r"function|method|constructor")
IMPORTS = re.compile(
    r"(future_)?import(_\w+)?|use_(declaration|item)|using_(directive|statement)|preproc_include|namespace_use_\w+"
    r"|package_import|extern_crate_declaration"
)
BINDERS = ("aliased_import", "import_specifier", "use_as_clause", "import_spec", "namespace_import")
BOUND = ("dotted_name", "identifier", "scoped_identifier", "self", "use_wildcard", "wildcard_import")
ORIGINS = ("module_name", "source", "path")
DECLARED = ("declarator", "pattern", "left", "name")
HOLDERS = ("lexical_declaration", "variable_declaration", "type_declaration", "const_declaration", "typed_parameter")
MOST_DECLARATORS = 20
MOST_SCOPES = 20
# Where functions of one name may differ by their parameters.
OVERLOADS = ("java", "cpp", "csharp", "kotlin", "scala", "swift", "typescript", "tsx")


@dataclass(frozen=True)
class Definition:
    """A name that a text gives to something.

    `origin`: where an import takes it from, or what else it is. `text`: of a definition, which begins at byte `start`.
    """

    name: str
    origin: str
    text: memoryview = field(default=memoryview(b""), compare=False)
    start: int = field(default=0, compare=False)

    @property
    def is_scope(self) -> bool:
        return bool(DEFINITIONS.fullmatch(self.origin))


def unwrap(node: "Node") -> "Node":
    """Return the definition inside of decorators or an export."""
    if node.type in WRAPPERS:
        inner = [child for child in node.named_children if DEFINITIONS.fullmatch(child.type)]
        return inner[-1] if inner else node
    return node


def is_definition(node: "Node") -> bool:
    return bool(DEFINITIONS.fullmatch(unwrap(node).type))


def is_import(node: "Node") -> bool:
    return node.is_named and bool(IMPORTS.fullmatch(node.type))


def find_name(source: Source, node: "Node") -> str:
    """Return the name under which others find it: a definition's with its owner, a key, a parameter's. "" for none."""
    node = unwrap(node)
    named = [node.child_by_field_name(part) for part in ("receiver", "trait", "type_parameters", "name", "key")]
    if node.type == "impl_item":
        named.append(node.child_by_field_name("type"))
    elif not any(named[3:]):
        named.append(find_declared(node))
    return " ".join(read_node(source, part) for part in named if part is not None)


def find_key(source: Source, node: "Node") -> str:
    """Return its name, with its parameters where several may have one name."""
    name, parameters = find_name(source, node), unwrap(node).child_by_field_name("parameters")
    if not (source.language in OVERLOADS and is_definition(node) and parameters):
        return name
    return f"{name}{read_node(source, parameters)}"


def find_declared(node: "Node") -> "Node | None":
    """Return what a declarator, a pattern or an assignment names."""
    found = None
    inner = node.named_children[0] if node.type in HOLDERS and node.named_child_count == 1 else node
    for _ in range(MOST_DECLARATORS):
        parts = [part for name in DECLARED if (part := inner.child_by_field_name(name)) is not None]
        if not parts:
            return found
        found = inner = parts[0]
    return None


def read_node(source: Source, node: "Node") -> str:
    return source.data[node.start_byte : node.end_byte].decode("utf-8", "replace")


def split_scopes(source: Source) -> Iterator[tuple[str, bytes]]:
    """Cut the text at the borders of its definitions; yield each stretch with the name of the innermost one around it.

    What is outside of all of them has no name.
    """
    at, around = 0, [("", len(source.data))]
    for definition in sorted(walk_definitions(source), key=lambda definition: definition.start):
        if definition.is_scope:
            while around[-1][1] <= definition.start:
                name, stop = around.pop()
                yield name, source.data[at:stop]
                at = stop
            yield around[-1][0], source.data[at : definition.start]
            at = definition.start
            around.append((definition.name, definition.start + len(definition.text)))
    for name, stop in reversed(around):
        yield name, source.data[at:stop]
        at = stop


def walk_definitions(source: Source) -> Iterator[Definition]:
    """Yield what the text defines or imports, outside of functions; names are told apart by the scopes around them."""
    data = memoryview(source.data)
    work: list[tuple[Node, str, int, int]] = [(source.root, "", 0, 1)]
    while work:
        node, scope, scopes, steps = work.pop()
        for child in node.named_children:
            text = data[child.start_byte : child.end_byte]
            if is_import(child):
                yield from (Definition(scope + name, origin) for name, origin in bind_imports(source, child))
            elif child.type not in WRAPPERS and is_definition(child):
                name = scope + find_name(source, child)
                yield Definition(name, child.type, text, child.start_byte)
                if not FUNCTIONS.search(child.type) and scopes < MOST_SCOPES:
                    work.append((child, f"{name}.", scopes + 1, 0))
            elif child.named_child_count:
                if child.type == "assignment" and steps == 1:  # of the module, or of a class's block
                    yield Definition(scope + find_name(source, child), child.type, text)
                work.append((child, scope, scopes, steps + 1))


def bind_imports(source: Source, node: "Node") -> Iterator[tuple[str, str]]:
    """Yield each name that an import binds, and from where; the whole import if its grammar is not known here."""
    whole = " ".join(read_node(source, node).split())
    origins = [child for part in ORIGINS if (child := node.child_by_field_name(part)) is not None]
    head, braced, _ = whole.partition("{")
    origin = read_node(source, origins[0]) if origins else head if braced else ""
    work = [child for child in node.named_children if child not in origins]
    bound = False
    while work:
        child = work.pop()
        if child.type not in (*BINDERS, *BOUND):
            work.extend(child.named_children)
            continue
        bound = True
        name = read_node(source, child.child_by_field_name("alias") or child)
        yield name.split(".")[-1 if origin else 0], f"{origin} {read_node(source, child)}"
    if not bound:
        yield whole, whole
