"""Self-contained pages: one file of HTML with its pictures, style and script, which loads nothing and asks no server.

markup.py    elements, in which every text is escaped; the whole page
viewer.py    photos before and after, under a slider; one detail over time
curves.py    curves as SVG
page.css, page.js   the style and the script of every page

A page can be read without its script: the pictures then stand side by side, and the curves have their legends.
"""
