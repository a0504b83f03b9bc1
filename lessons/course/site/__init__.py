"""The website of the lessons and the project's pages, and the notebooks: `make site`, `make notebooks`, `make links`.

markdown.py    finds prose, fences, links and anchors in Markdown
links.py       checks every link
outputs.py     the output of each cell
pages.py       writes Sphinx's input: the lessons as notebooks with their outputs, and the other pages
conf.py        Sphinx's settings, with two extensions of ours:
formulas.py    shows mathematics with a copy of MathJax in the site
sources.py     makes a page for each source file
notebooks.py   writes the lessons as notebooks for Colab
build.py       does all of it, in order
"""
