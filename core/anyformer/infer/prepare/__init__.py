"""Making a loaded model ready to answer: `prepare`. Read `model`, then `fuse`, `linear`, `choice`, `probe`, `kernels`."""

from anyformer.infer.prepare.model import PRECISIONS, Precision, prepare

__all__ = ["PRECISIONS", "Precision", "prepare"]
