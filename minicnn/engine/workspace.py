from minicnn.engine.kernels.buffers import *
from minicnn.engine.kernels.buffers import Buffers as Workspace

FRESH = Workspace()
