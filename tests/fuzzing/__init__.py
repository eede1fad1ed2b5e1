"""Mutated files against the commands that open them: `make fuzz`, and docs/security.md for what came of it.

kind        a file, the command that opens it, and whether a bundle's manifest guards it
mutation    of bytes, or of the content and then written as its format writes it
hashes      kept, as an accident leaves them, or recomputed, as an attacker does
outcome     typed, equal or different: as promised; untyped, crash, hang or memory: a fault
"""
