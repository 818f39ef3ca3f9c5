"""Is backward the gradient of forward, and does a layer keep its promises?

numerical.py   read first: a gradient by finite differences, in ten lines
gradcheck.py   gradient_check: backward compared with finite differences
subjects.py    what can be checked: layers, networks, pairs of functions, classes of other makes
kinks.py       one number of the comparison: which step to take, and where no derivative exists
report.py      the outcome as a table and a verdict
constants.py   the tolerances, each with its reason
contract.py    check_layer: what every layer promises besides a correct gradient
examples.py    a small layer of each kind, for whoever needs one
suite.py       `minicnn gradcheck`: all operations, all layers, the network
"""
