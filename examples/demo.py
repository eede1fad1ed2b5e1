"""The whole pipeline on scikit-learn's scanned digits: train, export, evaluate, run. `make demo` calls this."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from idsnn_deploy.datasets import load_split

RUN = Path("runs/demo")
BUNDLE, REPORT, IMAGES = RUN / "bundle", RUN / "report", RUN / "images"
# After 20 epochs three students were right on 97.9 to 99.0 % of held-out training images (docs/results.md).
TRAIN = ["--dataset", "digits", "--width", "16", "--epochs", "20", "--teacher-epochs", "15", "--seed", "0"]


def call(*command: str) -> None:
    """Runs one of the installed commands, showing it as a user would type it."""
    print(f"\n$ {' '.join(command)}", flush=True)
    subprocess.run([str(Path(sys.executable).with_name(command[0])), *command[1:]], check=True)


def save_images(count: int = 6) -> list[str]:
    """Writes a few test digits as 8-bit PNG files, and returns their names."""
    test = load_split("digits", "test", limit=count)
    IMAGES.mkdir(parents=True, exist_ok=True)
    names = []
    for image, label in zip(test.images[..., 0], test.labels, strict=True):
        names.append(str(IMAGES / f"digit-{label}.png"))
        Image.fromarray((image * (255.0 / test.scale) + 0.5).astype("uint8")).save(names[-1])
    return names


def main() -> None:
    start = time.monotonic()
    call("idsnn-train", *TRAIN, "--out", str(RUN), "--force")
    call("idsnn-export", str(RUN), "--graphs", "onnx,step,probe", "--force")
    call("idsnn-evaluate", str(BUNDLE), "--force")
    call("idsnn-deploy", "check", str(BUNDLE))
    call("idsnn-deploy", "run", str(BUNDLE), *save_images())

    trained = json.loads((RUN / "summary.json").read_text())
    report = json.loads((REPORT / "report.json").read_text())
    rows = {
        "teacher (ResNet-34), test accuracy": f"{trained['teacher_accuracy']:.2%}",
        "student (Spiking ResNet-18), test accuracy": f"{trained['student_accuracy']:.2%}",
        "the ONNX model without torch, test accuracy": f"{report['accuracy']['top1']:.2%}",
        "firing rate, spikes per neuron and step": f"{report['totals']['firing_rate']:.1%}",
        "accumulates per image (effective ACs)": f"{report['totals']['effective_acs']:,.0f}",
        "time": f"{time.monotonic() - start:.0f} s",
    }
    print("\n" + "\n".join(f"{name:<46}{value:>12}" for name, value in rows.items()))
    print(f"\nthe report: {REPORT / 'report.html'}     the bundle: {BUNDLE}")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)
