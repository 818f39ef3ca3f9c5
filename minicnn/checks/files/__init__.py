"""`minicnn gradcheck file.py`: find what has a backward in a file of one's own, and check it.

    discover.py    pairs of functions, losses and layers, by their names
    guesses.py     arguments to call them with, by the names of their parameters
    run.py         the table

The file is run: that is how its names come to be.
"""
