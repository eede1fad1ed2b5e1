"""NIR to C: the network in whole numbers, and the files that compute it on anything with a C compiler.

Imports `graph` and `reference` (for the form of the integer network); only the rooms above the wings import it.
The C that comes out equals `reference.integer` bit for bit.
"""
