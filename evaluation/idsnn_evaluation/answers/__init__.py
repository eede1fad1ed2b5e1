"""What the network answered at every step, how often it was right, and how early it might have stopped.

Imports no other wing; the rooms above import it.
Numbers only.
"""
