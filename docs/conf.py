"""The site: python -m sphinx -W --keep-going -b html docs build/docs (extra `docs`; nothing is fetched)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bibench import __version__

project = "BiBench"
author = "the BiBench authors"
version = release = __version__
extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"),
    *("mathml", "docstrings", "outside"),
]

exclude_patterns = ["_*"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_dmath_allow_space = False
myst_dmath_allow_digits = False
html_math_renderer = "mathml"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style"), ("Class attributes", "params_style")]
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 90
smartquotes_action = "D"  # dashes alone: "", an empty text, is to stay what it is
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"BiBench {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"footer_icons": []}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
