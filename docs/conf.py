"""How Sphinx builds this documentation. From the root of the repository:

    pip install -e ".[docs]" && sphinx-build -W -c docs . docs/_build/html

Then open docs/_build/html/index.html. `.ci/docs` does it in a fresh environment.

The source directory is the repository, so the notebooks, the benchmarks and CONTRIBUTING.md are pages
where they lie, and a link between two of them works here as it does on a code host.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from api_pages import as_rst, write_api_pages

import minicnn

project = "minicnn"
author = "The minicnn authors"
release = version = minicnn.__version__
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "notebooks/*.ipynb",
    "notebooks/*.md",
    "benchmarks/*.md",
    "tests/README.md",
    "examples/gradcheck/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
]
exclude_patterns = ["docs/_build", "**/.ipynb_checkpoints"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
nb_execution_mode = "off"  # the notebooks carry their outputs; .ci/notebooks executes them
myst_heading_anchors = 3

autodoc_default_options = {"member-order": "bysource", "show-inheritance": True}
autodoc_inherit_docstrings = False  # a layer's page shows what it adds, not the protocol again
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
highlight_language = "none"  # a block without a language is a command, a formula or output
default_role = "code"  # docstrings write `x`, as Markdown does
add_module_names = False

html_theme = "furo"
html_title = f"minicnn {release}"
html_show_copyright = html_show_sphinx = html_copy_source = False
html_static_path = ["static"]
html_css_files = ["minicnn.css"]
html_extra_path = ["front"]  # index.html, which leads to docs/index.html

write_api_pages(Path(__file__).parent / "api")


def setup(app):
    """Sphinx calls this: docstrings are written as Markdown, and autodoc reads reStructuredText."""
    app.connect("autodoc-process-docstring", lambda app, what, name, obj, options, lines: as_rst(lines))
