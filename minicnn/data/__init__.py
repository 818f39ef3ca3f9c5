"""The data: the IDX file format, the MNIST database, batches, augmentation, and photographs of digits.

Nothing here knows about networks.
"""

from .batches import Batches, to_float
from .idx import DataError, read_idx
from .mnist import Dataset, Split, load_mnist

__all__ = ["Batches", "DataError", "Dataset", "Split", "load_mnist", "read_idx", "to_float"]
