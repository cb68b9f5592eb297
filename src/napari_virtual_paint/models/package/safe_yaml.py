"""YAML of unknown origin: plain values alone, and none of the ways in which a small file becomes a large one."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from napari_virtual_paint.models.package.files import MAX_DESCRIPTION, PackageFiles
from napari_virtual_paint.runtime.text import one_line

MAX_ALIASES = 200
MAX_NODES = 50_000
TAG = "tag:yaml.org,2002:"


# libyaml parses ten times as fast; most builds of PyYAML have it.
_BASES: Any = (yaml.composer.Composer, yaml.CSafeLoader) if yaml.__with_libyaml__ else (yaml.SafeLoader,)


class _Loader(*_BASES):  # type: ignore[misc]
    """`yaml.SafeLoader` without merge keys (which multiply while they load) and with few aliases.

    Packages are YAML 1.2, where ``1e-06`` is a number and ``no`` a word; PyYAML reads 1.1. Nodes are composed in Python, where aliases are
    counted, also with libyaml, which composes its own otherwise.
    """

    aliases = 0

    def __init__(self, text: str) -> None:
        _BASES[-1].__init__(self, text)
        yaml.composer.Composer.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count the aliases on the way."""
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise yaml.YAMLError("too many aliases")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merge keys."""
        if any(key.tag == f"{TAG}merge" for key, _ in node.value):
            raise yaml.YAMLError("merge keys (<<) are not read")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping; its keys are values of one word."""
        if any(not isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise yaml.YAMLError("a key is not a single word")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] not in (f"{TAG}bool", f"{TAG}float", f"{TAG}int")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(r"(?:[-+]?[0-9]+|0x[0-9a-fA-F]+)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{TAG}float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def read_description(files: PackageFiles) -> dict[str, Any]:
    """Return the description of a package as plain values.

    Raises `ModelError` if it is no YAML mapping, or if it is built to grow.
    """
    name = files.description
    data = files.read(name, MAX_DESCRIPTION)
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        content = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise files.fail(f"{name} is no valid YAML ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise files.fail(f"{name} holds no description of a model")
    if not _is_small(content):
        raise files.fail(f"{name} repeats its parts until they fill the memory; this file may be an attack")
    return content


def _is_small(content: Any) -> bool:
    """Return whether the values, with every alias written out, stay few."""
    waiting, seen = [content], 0
    while waiting:
        seen += 1
        if seen > MAX_NODES:
            return False
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, (list, tuple, set)):
            waiting += item
    return True
