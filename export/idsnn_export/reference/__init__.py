"""What every other form of a network is held to: NIR in numpy, equation by equation.

Imports `graph` alone, and shares nothing but the plan with what it checks; `from_torch` and `gates` import it.
Never torch, never ONNX.
"""
