"""How much of a file is read, at most: one table for all readers. SECURITY.md explains it to users.

A limit keeps a small file, or a link to a large one, from taking the memory of the machine. Each is far
above what minicnn itself, or a camera, writes.
"""

MIB = 1 << 20

CONFIG = MIB  # bytes of config.json; a real one has about 500
METRICS = 16 * MIB  # bytes of metrics.csv: 300,000 rows

HEADER = MIB  # bytes of the header of a safetensors file; a real one has about 5,000
ARRAYS = 512 * MIB  # bytes of the arrays of a network or checkpoint: 134 million float32 numbers
ONNX = 1024 * MIB  # bytes of an ONNX model, and of a file beside it that holds its weights

IDX = 1024 * MIB  # bytes of an array, decompressed: twice the largest relative of MNIST
GZIP_RATIO = 100  # decompressed bytes for each compressed one, beyond the first GZIP_FREE; MNIST's: 6
GZIP_FREE = 16 * MIB

CSV = 4096 * MIB  # bytes of a CSV file of images, decompressed; Kaggle's largest has 110 million
NPZ = 4096 * MIB  # bytes of an array in a NumPy archive, decompressed, and of the archive
PARQUET = 4096 * MIB  # bytes of a parquet file
LABELS = 64 * MIB  # bytes of a table of pictures and their labels
CIFAR = 256 * MIB  # bytes of one of its files: 80,000 images
NAMES = MIB  # bytes of a file with the names of classes

IMAGE = 256 * MIB  # bytes of an image file
PIXELS = 384 * MIB  # bytes of its pixels while they are decoded: 100 megapixels in colour


def unpacked(size: int) -> int:
    """How many bytes a file may say that its `size` compressed bytes hold."""
    return max(GZIP_FREE, GZIP_RATIO * size)
