"""Sphinx's settings. build.py calls pages.py, which writes the pages, and then Sphinx."""

import minisrgan

project = "minisrgan"
author = "the minisrgan authors"
version = release = minisrgan.__version__
language = "en_GB"

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton"]
extensions += ["lessons.course.site.formulas", "lessons.course.site.sources"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

# so that the site shows the lessons as GitHub does
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 6
nb_execution_mode = "off"  # the outputs are in the notebooks that pages.py writes
nb_merge_streams = True
nb_ipywidgets_js = {}  # load nothing from another server

mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}

html_theme = "furo"
html_title = "minisrgan"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_use_index = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}
copybutton_prompt_text = "$ "
pygments_style = "friendly"
pygments_dark_style = "github-dark"
highlight_language = "text"
