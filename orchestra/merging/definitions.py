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
# Where functions of one name may differ by their parameters.
OVERLOADS = ("java", "cpp", "csharp", "kotlin", "scala", "swift", "typescript", "tsx")


@dataclass(frozen=True)
class Definition:
    """A name that a text gives to something.

    `origin`: where an import takes it from, or what else it is. `text`: of a definition.
    """

    name: str
    origin: str
    text: str = field(default="", compare=False)


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
    for part in ("declarator", "pattern", "left"):
        inner = node.child_by_field_name(part)
        if inner is not None:
            return find_declared(inner) or inner
    if node.type in ("typed_parameter", "list_splat_pattern", "dictionary_splat_pattern"):
        return node.named_children[0] if node.named_children else None
    if node.type in ("lexical_declaration", "variable_declaration", "type_declaration", "const_declaration"):
        inner = node.named_children[0] if len(node.named_children) == 1 else None
        return inner.child_by_field_name("name") if inner is not None else None
    return None


def read_node(source: Source, node: "Node") -> str:
    return source.data[node.start_byte : node.end_byte].decode("utf-8", "replace")


def walk_definitions(source: Source) -> Iterator[Definition]:
    """Yield what the text defines or imports, outside of functions; names are told apart by the scopes around them."""
    work: list[tuple[Node, str]] = [(source.root, "")]
    while work:
        node, scope = work.pop()
        for child in node.named_children:
            if is_import(child):
                yield from (Definition(scope + name, origin) for name, origin in bind_imports(source, child))
            elif child.type not in WRAPPERS and is_definition(child):
                name = scope + find_name(source, child)
                yield Definition(name, child.type, read_node(source, child))
                if not FUNCTIONS.search(child.type):
                    work.append((child, f"{name}."))
            elif child.named_child_count:
                if child.type == "assignment" and not (node.parent and node.parent.parent):
                    yield Definition(scope + find_name(source, child), child.type, read_node(source, child))
                work.append((child, scope))


def bind_imports(source: Source, node: "Node") -> Iterator[tuple[str, str]]:
    """Yield each name that an import binds, and from where; the whole import if its grammar is not known here."""
    head = read_node(source, node).partition("{")[0]
    origins = [child for part in ORIGINS if (child := node.child_by_field_name(part)) is not None]
    origin = read_node(source, origins[0]) if origins else head if "{" in read_node(source, node) else ""
    found = False
    work = [child for child in node.named_children if child not in origins]
    while work:
        child = work.pop()
        if child.type in BINDERS or child.type in BOUND:
            found = True
            alias = child.child_by_field_name("alias")
            yield (
                read_node(source, alias or child).split(".")[0 if not origin else -1],
                f"{origin} {read_node(source, child)}",
            )
        else:
            work.extend(child.named_children)
    if not found:
        text = " ".join(read_node(source, node).split())
        yield text, text
