"""Settings of the pages: ``python -m sphinx -W --keep-going -b html docs build/docs``."""

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_sphinx"))

project = "softreg"
author = copyright = "softreg developers"
release = importlib.metadata.version("softreg")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "mathml",  # no script, no font and no network for formulas
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_sphinx", "_templates", "gallery/*.ipynb", "gallery/*.py", "gallery/*.md5"]
templates_path = ["_templates"]
language = "en"

# Functions and classes whose names differ in case alone have pages that differ in more.
autosummary_filename_map = {
    f"softreg.inference.{name}": f"softreg.inference.{name}_class"
    for name in ("Influence", "Margins", "Separation")
}

default_role = "obj"  # `fit` in a docstring is a link where that name has a page, else code
nitpicky = True
# The code among them, and what has its page elsewhere.
nitpick_ignore_regex = [("py:obj", ".*"), ("py:func", r"scipy\..*")]
autodoc_typehints = "none"  # the docstrings say the types, with shapes
toc_object_entries = False  # the sidebar lists pages, not methods
numpydoc_show_class_members = False  # the template of classes shows them, each with its docstring

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
highlight_language = "none"  # the fences and doctests say their own

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/(?!cluster)\w+\.py$",  # a cluster of two processes is shown, not run
    "default_thumb_file": str(Path(__file__).parent / "_static" / "table.svg"),
    "within_subsection_order": "gallery.rank",
    "reset_argv": "gallery.arguments",
    "download_all_examples": False,
    "min_reported_time": 3600,  # no times: they are those of the machine
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = f"softreg {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_sidebars = {page: [] for page in ("start", "benchmarks", "changelog", "contributing")}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "softreg"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def leave_out(app, what, name, obj, skip, options):
    """Leave out methods that scikit-learn gives to every estimator."""
    return True if str(getattr(obj, "__module__", "")).startswith("sklearn.") else None


def setup(app):
    """Connect the function above."""
    app.connect("autodoc-skip-member", leave_out)
