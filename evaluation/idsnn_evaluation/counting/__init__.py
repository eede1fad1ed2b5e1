"""Spikes and operations, counted exactly, in integers, from what a probe graph shows.

Imports nothing of the other wings; the rooms above import it.
No energy, no words, no pictures.
"""
