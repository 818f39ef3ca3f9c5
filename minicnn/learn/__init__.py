"""`minicnn learn`: the learner writes the tutorial's network in plain NumPy, in eight exercises.

exercises.py    the eight, in their order
convolution.py  what checks im2col, and convolution forward and backward
pointwise.py    max-pool, ReLU, dropout
scores.py       softmax cross-entropy, Adam
learner.py      the learner's file: calling its functions, and what is said when a call fails
probe.py        comparing what they return with what they should
findings.py     what is wrong, in a form that can be sent and printed in any language

child.py        the process that runs the learner's file
sessions.py     starting it, and what becomes of it
board.py        what `check` prints
network.py      the network, computed by the learner's functions
training.py     training it
swapping.py     our kernels in place of the learner's functions, one by one
lesson.py       what `train` prints
start.py        writing the learner's file
files/          that file, in each language
messages/       all other texts, in each language
"""
