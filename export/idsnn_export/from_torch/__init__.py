"""torch to NIR: a module is traced, its layers become nodes, batch norms are folded; and the torch side of the gates.

The only wing that imports torch; nothing imports it before a torch network is at hand.
Imports `graph` and `reference` (for the form of a trace).
"""
