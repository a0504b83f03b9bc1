"""The site of the lessons and the project's pages, the notebooks: `make site`, `make notebooks`, `make links`.

markdown.py    Markdown as these modules need it: prose and fences, links, anchors
links.py       checks every link
outputs.py     what each cell prints
pages.py       writes what Sphinx reads: the lessons as notebooks with their outputs, the other pages
conf.py        Sphinx's settings, with two extensions of ours:
formulas.py    mathematics by a copy of MathJax in the site
sources.py     a page for each source file
notebooks.py   the lessons as notebooks for Colab
build.py       all of it, in order
"""
