"""Numbers with their units, the same in the terminal, the page, the figures and the report's sentences."""

from __future__ import annotations

from collections.abc import Sequence

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_ENERGIES = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))


def count(value: float | None) -> str:
    """1234567 → "1.23 M"; "–" for None."""
    if value is None:
        return "–"
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}" if abs(value) < 999.5 * size else f"{value / size:.0f} {prefix}"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def percent(value: float | None, digits: int = 1) -> str:
    """0.1234 → "12.3 %"; "–" for None."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def fixed(value: float | None, unit: str = "") -> str:
    """1.234 → "1.23", with a unit behind it; "–" for None."""
    return "–" if value is None else f"{value:.2f}{unit}"


def joules(pj: float) -> str:
    """Picojoules in the unit that suits: 1234567 → "1.23 µJ"."""
    for size, unit in _ENERGIES:
        if abs(pj) >= size:
            return f"{pj / size:.3g} {unit}" if abs(pj) < 999.5 * size else f"{pj / size:.0f} {unit}"
    return f"{pj:.3g} pJ"


def energy(interval: Sequence[float]) -> str:
    """[least, most] in picojoules: "1.2 µJ", or "1.2 to 3.4 µJ" where they differ."""
    low, high = (joules(value) for value in interval)
    if low == high:
        return low
    (a, unit), (b, other) = low.split(), high.split()
    return f"{a} to {b} {unit}" if unit == other else f"{low} to {high}"


def times(ratio: float | None) -> str:
    """How a cost compares: 0.5 → "2.0 times less", 3 → "3.0 times more"."""
    if not ratio:
        return "–"
    word = "less" if ratio < 1 else "more"
    return f"{max(ratio, 1 / ratio):.1f} times {word}"


def of_bits(bits: int) -> str:
    """ "1 bit" or "3 bits"."""
    return f"{bits} bit{'s' if bits > 1 else ''}"


def ann_of(bits: int) -> str:
    """ "ANN of 3 bits", the other side of reading C in words."""
    return f"ANN of {of_bits(bits)}"
