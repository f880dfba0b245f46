"""Settings of the site; everything in it comes from this machine, fonts and search included."""

from ufm.version import __version__

project = "ufm-lab"
author = "The ufm-lab authors"
copyright = "The ufm-lab authors, Apache-2.0"
version = release = __version__
extensions = ["myst_parser", "docs.site.extension"]
myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page may begin below the first level, a notebook does
highlight_language = "text"
html_theme = "furo"
html_title = "ufm-lab"
html_math_renderer = "mathml"
html_css_files = ["site.css"]
html_static_path = ["_static"]
html_copy_source = False
html_show_sourcelink = False
# Summaries of search results would be fetched, which browsers refuse to pages from files.
html_show_search_summary = False
html_theme_options = {"navigation_with_keys": True}
