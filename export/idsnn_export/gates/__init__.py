"""What must agree before anything gets its name, by how much, and where two runs part.

Imports `reference` and `graph`; the rooms above the wings import it.
Runs ONNX files, and never sees how they were made.
"""
