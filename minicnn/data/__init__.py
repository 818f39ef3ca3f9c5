"""The data: the IDX file format, the MNIST database in it, and the order of the batches.

Nothing here knows about networks, and nothing else in minicnn is imported.
"""

from .batches import Batches, to_float
from .idx import DataError, read_idx
from .mnist import Dataset, Split, load_mnist

__all__ = ["Batches", "DataError", "Dataset", "Split", "load_mnist", "read_idx", "to_float"]
