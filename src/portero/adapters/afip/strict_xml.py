"""XML as AFIP writes it, and nothing that XML allows beside: elements, attributes, and text where no children are.

The parser is the standard library's expat. A DTD ends the parse where it begins, so that there are no entities, no
external files and no bombs; so do processing instructions. Bytes are UTF-8 whatever they say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

MAX_DEPTH = 16
_ENCODING = re.compile(rb"\A<\?xml[^>]*\sencoding\s*=\s*[\"']([^\"']*)[\"']")


class NotStrictXml(ValueError):
    """The bytes are not XML of this kind. The message never quotes them."""


@dataclass(slots=True)
class Element:
    """One element. Names are as written, with any prefix."""

    name: str
    attributes: Mapping[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def one(self, name: str) -> Element:
        """The only child of that name.

        Raises:
            NotStrictXml: there is none, or more than one.
        """
        found = self.all(name)
        if len(found) != 1:
            raise NotStrictXml(f"{len(found)} elements {name} in {self.name}, where there is one")
        return found[0]

    def all(self, name: str) -> list[Element]:
        """Its children of that name, in order."""
        return [child for child in self.children if child.name == name]


def parse_strictly(data: bytes, *, max_elements: int, namespaces: bool = False) -> Element:
    """Read a document.

    Args:
        namespaces: names are given as `uri name`.

    Raises:
        NotStrictXml: a DTD, a processing instruction, another encoding than UTF-8, not well formed, or too much of it.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictXml("the bytes are not UTF-8") from None
    declared = _ENCODING.match(data)
    if declared is not None and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise NotStrictXml("it declares another encoding than UTF-8")
    if "\0" in text or "\ufeff" in text:
        raise NotStrictXml("it has a byte-order mark or a NUL")
    reader = _Reader(max_elements)
    parser = expat.ParserCreate("utf-8", " " if namespaces else None)
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = _refuse_dtd
    parser.EntityDeclHandler = _refuse_dtd
    parser.ProcessingInstructionHandler = _refuse_instruction
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise NotStrictXml(f"not well formed: {expat.ErrorString(error.code)}") from None
    if reader.root is None:
        raise NotStrictXml("there is no element")
    return reader.root


def _refuse_dtd(*_: object) -> None:
    raise NotStrictXml("it has a DTD")


def _refuse_instruction(*_: object) -> None:
    raise NotStrictXml("it has a processing instruction")


class _Reader:
    def __init__(self, max_elements: int) -> None:
        self.root: Element | None = None
        self._left = max_elements
        self._open: list[Element] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._left -= 1
        if self._left < 0 or len(self._open) >= MAX_DEPTH:
            raise NotStrictXml("it has too many elements, or too deep ones")
        element = Element(name, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, name: str) -> None:
        element = self._open.pop()
        if element.children and element.text.strip():
            raise NotStrictXml("it mixes text with elements")

    def characters(self, text: str) -> None:
        self._open[-1].text += text
