"""4 of 4. Images to classes with numpy, onnxruntime and Pillow: python examples/run.py BUNDLE IMAGE..."""

from __future__ import annotations

import sys

from idsnn_deploy import Session
from idsnn_deploy.anytime import softmax


def main(bundle: str, *images: str) -> None:
    session = Session(bundle)
    for image, p in zip(images, softmax(session(list(images))), strict=True):
        print(f"{image}: {session.labels[p.argmax()]} ({p.max():.1%})")


if __name__ == "__main__":
    main(*sys.argv[1:])
