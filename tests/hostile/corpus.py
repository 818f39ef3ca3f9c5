"""All hostile files, by the kind of file that they stand in for."""

import anywhere
import networks
import onnx_models
import pixels
import runs_files
import tables
from cases import CASES, Case

__all__ = ["CASES", "Case", "anywhere", "networks", "onnx_models", "pixels", "runs_files", "tables"]
