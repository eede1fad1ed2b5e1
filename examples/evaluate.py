"""3 of 4. What the bundle answers and what it costs, from ONNX alone, without torch: python examples/evaluate.py."""

from __future__ import annotations

from idsnn_deploy import load_split
from idsnn_evaluation import evaluate

BUNDLE = "runs/example/bundle"


def main() -> None:
    test = load_split("digits", "test")
    report = evaluate(BUNDLE, test.pixels(), test.labels).to_dict()
    totals = report["totals"]
    print(f"accuracy {report['accuracy']['top1']:.2%}, firing rate {totals['firing_rate']:.1%}")
    print(
        f"{totals['effective_acs']:,.0f} accumulates and {totals['effective_macs']:,.0f} multiply-accumulates an image"
    )


if __name__ == "__main__":
    main()
