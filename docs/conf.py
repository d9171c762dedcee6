"""The documentation site: ``python -m sphinx -W -b html docs docs/_build/html``."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from docutils.utils.math.latex2mathml import tex2mathml  # type: ignore[import-untyped]
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

project = html_title = "maskbench"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_math_renderer = "mathml"
html_show_sphinx = html_show_copyright = False
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Stand-ins for what takes long to import: API pages need only what the modules themselves say.
autodoc_mock_imports = ["avalanche", "matplotlib", "pandas", "pyarrow", "rich", "safetensors", "torch", "torchvision"]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

#: docstrings of attributes, which napoleon takes for "type: description" wherever they have a colon
_of_attributes: dict[str, list[str]] = {}


def remember(app: Any, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon: what is said of an attribute."""
    if what in ("attribute", "data", "property"):
        _of_attributes[name] = list(lines)


def put_back(app: Any, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """After napoleon."""
    if name in _of_attributes:
        lines[:] = [*_of_attributes.pop(name), ""]


def tell_knobs(app: Any, what: str, name: str, described: Any, options: Any, lines: list[str]) -> None:
    """Of settings every knob, whose help, unit, choices and default stand in its field."""
    if what != "class" or not dataclasses.is_dataclass(described):
        return
    from methods.engine.knobs import knobs_of

    defaults = {field.name: field.default for field in dataclasses.fields(described)}
    for knob, about in knobs_of(described).items():
        unit = f" ({about.unit})" if about.unit else ""
        choices = f": {', '.join(about.choices)}" if about.choices else ""
        lines += ["", f".. py:attribute:: {knob}", "   :no-index:", f"   :value: {defaults[knob]!r}"]
        lines += ["", f"   {about.help}{unit}{choices}"]


def no_needless_signature(
    app: Any, what: str, name: str, described: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str, None] | None:
    """None for a dataclass, whose fields stand below with their types, nor for a class that derives from a stand-in."""
    needless = dataclasses.is_dataclass(described) or signature == "(*args: Any, **kwargs: Any)"
    return ("", None) if what == "class" and needless else None


class LinksOutside(SphinxPostTransform):
    """Links to something of the repository that is no page of the site, a folder say, become plain text."""

    default_priority = 8  #: before MyST looks for their targets

    def run(self, **kwargs: Any) -> None:
        """Change the document."""
        folder = (DOCS / self.env.current_document.docname).parent
        for link in list(self.document.findall(pending_xref)):
            if link["reftype"] == "myst" and (folder / link["reftarget"]).exists():
                link.replace_self(link.children)


def inline_formula(page: Any, node: nodes.math) -> None:
    """As MathML, which needs neither a script nor the network."""
    page.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def displayed_formula(page: Any, node: nodes.math_block) -> None:
    """The same, on lines of its own."""
    page.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", remember, priority=400)
    app.connect("autodoc-process-docstring", put_back, priority=600)
    app.connect("autodoc-process-docstring", tell_knobs)
    app.connect("autodoc-process-signature", no_needless_signature)
    app.add_post_transform(LinksOutside)
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
