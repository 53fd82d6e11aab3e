"""A report as blocks, and its renderings: a page, a README, a terminal. The only room that rounds.

| module | holds |
|---|---|
| ``blocks`` | what a report is made of: headings, text, facts, tables, figures, downloads |
| ``html`` | a report as a page that opens from disk, alone or as part of a site |
| ``markdown`` | a report as Markdown |
| ``terminal`` | a report as plain text |
| ``rounding`` | numbers for the eye |
| ``figures`` | scales, ticks, dot and whisker, parity plot, periodic table |
| ``curves`` | errors against data on logarithmic axes |
| ``markup`` | HTML and SVG in which nothing foreign becomes markup, for figures |
| ``raster`` | a figure as PNG |

Pages need no plotting package, no server and, but for sorting and the like, no script; PNG needs an optional package. The same
report gives the same bytes.
"""
