"""The pictures of runs: curves, confusions, filters, mistakes, and an image on its way through the network."""
