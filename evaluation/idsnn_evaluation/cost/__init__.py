"""What counts cost: energy by published constants, and what this machine needs for one image.

Imports no other wing; `show` and the rooms above import it.
Every constant has its source beside it.
"""
