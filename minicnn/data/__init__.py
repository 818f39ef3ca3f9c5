"""The data: MNIST, the forms in which people keep small images, batches, augmentation, photographs of digits.

Nothing here knows about networks.
"""

from .batches import Batches, to_float
from .dataset import Dataset, Split, load_data
from .idx import DataError, read_idx
from .mnist import load_mnist

__all__ = ["Batches", "DataError", "Dataset", "Split", "load_data", "load_mnist", "read_idx", "to_float"]
