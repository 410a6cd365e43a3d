"""LaTeX formulas as MathML, which browsers set themselves: no script, no font, no network."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bibench.report.blocks import Formula

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ELEMENTS = {
    *("math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "msub", "msup", "msubsup", "mfrac", "msqrt", "mroot"),
    *("mover", "munder", "munderover", "mstyle", "mtable", "mtr", "mtd", "mpadded", "mphantom", "menclose"),
}
ATTRIBUTES = {
    *("display", "mathvariant", "stretchy", "fence", "accent", "accentunder", "width", "height", "depth", "separator"),
    *("displaystyle", "scriptlevel", "minsize", "maxsize", "linethickness", "columnalign", "form", "lspace", "rspace"),
    *("movablelimits", "symmetric", "columnspacing", "rowspacing"),
}


def formula(latex: str, display: bool = True) -> Formula:
    """The formula as a block; without latex2mathml, or for LaTeX that it cannot read, its source is shown."""
    try:
        from latex2mathml.converter import convert
    except ImportError:
        return Formula(latex, "")
    # Upright words are names of functions; the converter would set them letter by letter.
    words = re.sub(r"\\mathrm\{([A-Za-z]{2,})\}", r"\\operatorname{\1}", latex)
    try:
        return Formula(latex, checked(convert(words, display="block" if display else "inline")))
    except Exception:  # it has no error of its own: a stranger's formula may raise anything
        return Formula(latex, "")


def checked(mathml: str) -> str:
    """The same MathML written anew, of known elements and attributes alone: LaTeX may come from a stranger's file."""
    root = ElementTree.fromstring(mathml)
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
        if element.tag not in ELEMENTS:
            raise ValueError(f"{element.tag} is no element of a formula")
        if element.tag == "mo" and len(element.text or "") > 1 and (element.text or "").isalpha():
            element.tag = "mi"  # a function's name, which takes no space around it
        for name in set(element.attrib) - ATTRIBUTES:
            del element.attrib[name]
    return ElementTree.tostring(root, encoding="unicode")
