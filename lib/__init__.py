"""What several notebooks need, or what must be fast.

The rooms, bottom to top; a room knows only rooms above it in this list:

require          one-line errors that name the argument
linear_gaussian  the theory's world: designs, information, least squares, exchange rate
metrics          intervals
uml              the shared autoencoder, and training many seeds side by side
parameters       the schema of a notebook's parameters; profiles
checks           instant checks of the exercises
claims           what a notebook claims, measured, recorded
plots            one style for every figure
"""
