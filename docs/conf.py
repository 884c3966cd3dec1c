"""Settings of the pages: ``python -m sphinx -W --keep-going -b html docs build/docs``."""

import importlib.metadata

project = "softreg"
author = copyright = "softreg developers"
release = importlib.metadata.version("softreg")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
]
exclude_patterns = ["_templates"]
templates_path = ["_templates"]

# Functions and classes whose names differ in case alone have pages that differ in more.
autosummary_filename_map = {
    f"softreg.inference.{name}": f"softreg.inference.{name}_class"
    for name in ("Influence", "Margins", "Separation")
}

default_role = "obj"  # `fit` in a docstring is a link where that name has a page, else code
autodoc_typehints = "none"  # the docstrings say the types, with shapes
toc_object_entries = False  # the sidebar lists pages, not methods
numpydoc_show_class_members = False  # the template of classes shows them, each with its docstring

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
highlight_language = "none"  # the fences and doctests say their own

html_theme = "alabaster"
html_static_path = ["_static"]
html_theme_options = {
    "description": "Softmax and multi-label regression",
    "page_width": "1300px",  # code of 100 columns fits
    "body_max_width": "none",
}


def leave_out(app, what, name, obj, skip, options):
    """Leave out methods that scikit-learn gives to every estimator."""
    return True if str(getattr(obj, "__module__", "")).startswith("sklearn.") else None


def setup(app):
    """Connect the function above."""
    app.connect("autodoc-skip-member", leave_out)
