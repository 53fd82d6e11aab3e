"""Figures and pages as text: what the leaderboard and the analysis of a data set are drawn with.

| module | holds |
|---|---|
| ``markup`` | HTML and SVG in which nothing foreign becomes markup |
| ``markdown`` | the same for Markdown |
| ``rounding`` | numbers for the eye |
| ``figures`` | scales, ticks, dot and whisker, parity plot, periodic table |
| ``curves`` | errors against data on logarithmic axes |
| ``document`` | a page of its own: one style, one policy, nothing loaded |
| ``raster`` | a figure as PNG |

Pages and SVG need no plotting package and no script; PNG needs an optional one. The same numbers give the same bytes.
"""
