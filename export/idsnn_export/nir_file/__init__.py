"""NIR files: read safely whatever their origin, written with the same bytes every time.

Imports `graph` alone; the rooms above the wings import it.
h5py lives here and nowhere else.
"""
