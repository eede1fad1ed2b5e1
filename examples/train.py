"""1 of 4. A teacher and a spiking student on scikit-learn's digits, in two minutes: python examples/train.py."""

from __future__ import annotations

from pathlib import Path

from idsnn.config import TrainConfig
from idsnn.trainer import train

RUN = Path("runs/example")


def main() -> None:
    summary = train(TrainConfig(dataset="digits", width=16, epochs=15), RUN, force=True)
    print(f"teacher {summary['teacher_accuracy']:.2%}, student {summary['student_accuracy']:.2%}: {RUN}")


if __name__ == "__main__":
    main()
