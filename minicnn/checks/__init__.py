"""Is backward the gradient of forward, and does a layer keep its promises?

    numerical.py     read first: a gradient by finite differences, in ten lines
    gradcheck.py     gradient_check: backward compared with finite differences
    comparison.py    which numbers are compared, and what counts as wrong
    lines.py         the lines along which they are: entries, random directions, directions that keep ties
    slopes.py        one number: the slope along a line, and whether it can be trusted
    kinks.py         what backward may claim where there is no derivative
    noise.py         how exactly the function is computed
    complex_step.py  a derivative that rounding does not hide
    report.py        the outcome as a table and a verdict
    constants.py     the tolerances, each with its reason

    subject.py       what can be checked: arrays, an output, gradients
    subjects.py      functions and layers as subjects
    parameters.py    where a layer keeps its parameters
    state.py         what a call changes besides its result, put back
    trees.py         lists, tuples and dictionaries of arrays
    second.py        the gradient of a gradient
    conventions/     code of other makes, recognised and read as one of these
    diagnosis/       what is probably wrong with a wrong gradient
    files/           `minicnn gradcheck file.py`: what has a backward in a file
    pytest_plugin.py a fixture and a marker
    many.py          one check at many shapes and values
    strategies.py    arguments for it, and for Hypothesis

    contract.py      check_layer: what every layer promises besides a correct gradient
    examples.py      a small layer of each kind, for whoever needs one
    suite.py         `minicnn gradcheck`: all operations, all layers, the network

One idea is one file.
"""
