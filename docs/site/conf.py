"""How Sphinx makes pages of what `notebooks/pages.py` lays out. They load nothing from a network."""

from docutils import nodes
from latex2mathml.converter import convert
from latex2mathml.exceptions import NoAvailableTokensError
from sphinx.application import Sphinx
from sphinx.util import logging

project = "landmark"
html_title = "Landmark recognition, a course"
extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the outputs are those of the run
nb_merge_streams = True
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["zoom.js"]
html_show_sphinx = html_show_copyright = html_copy_source = False
html_math_renderer = "mathml"  # MathJax comes from a network; browsers draw MathML themselves
suppress_warnings = ["myst.header"]  # a page of exercises may start at a lower heading


def mathml(node: nodes.math | nodes.math_block, display: str) -> str:
    """A formula in TeX as MathML."""
    tex = node.astext()
    try:
        if "&" in tex.replace(r"\&", "") and r"matrix}" not in tex and r"cases}" not in tex:
            raise ValueError("an alignment with & is not known here: write one formula a line")
        return convert(tex, display=display)
    except (ValueError, NoAvailableTokensError, IndexError) as error:
        logging.getLogger(__name__).warning("formula %r: %s", tex, error, location=node)
        return ""


def inline(page, node: nodes.math) -> None:
    """Write a formula inside a sentence."""
    page.body.append(mathml(node, "inline"))
    raise nodes.SkipNode


def block(page, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    page.body.append(f'<div class="math" tabindex="0">{mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Draw formulas by the functions above."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
