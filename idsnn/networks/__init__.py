"""Networks that the trainer can train: one table (`table`), one protocol (`protocol`), a file an architecture.

Imports the neuron and what is below it; training, initialization and checkpoints import it.
Nothing above it names a network's class.
"""
