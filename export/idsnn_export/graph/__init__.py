"""What a NIR graph means: its plan, shapes, time constants, metadata, layer table, and whether two are the same.

Imports no sibling; every other wing may import it.
numpy and nir, nothing else.
"""
