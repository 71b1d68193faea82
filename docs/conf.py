"""How Sphinx builds these pages: `sphinx-build -W docs docs/_build`."""

import pyrotask

project = "pyrotask"
author = "The pyrotask authors"
copyright = "2026, The pyrotask authors"  # noqa: A001 - Sphinx's name
release = version = pyrotask.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"pyrotask {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings name code in single backticks, as prose does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = False
