"""The page `minicnn explore`: every number of the network, forward to the answer and back to the loss.

    maps.py       one image through one network: all outputs, all gradients
    forward.py    one output as the terms that made it
    backward.py   one gradient as the terms that made it
    nudge.py      the same gradient as a finite difference
    why.py        why one digit and not another
    switches.py   filters and units switched off
    twins.py      two networks that differ in one thing: what decides a training, and the training
    differences.py, wrong_gradients.py, naive_loss.py     what they can differ in
    pair.py       both, step by step, and back to any step
    pairs.py      the pairs of all open pages
    nearest.py    the training images nearest to a digit, as the network sees them
    source.py     the lines of the reference that compute a kind of number
    digits.py     test images, mistakes first
    worker.py     the one thread that computes, for the page and for the training
    session.py    what the page asks for, in plain arrays
    server.py     transport: HTTP on this machine only
    export.py     the page without Python
    static/       the page itself: ES modules, no build step; static/local/ answers it without a server

Nothing in here computes a layer, except static/local/ in the exported page: outputs and gradients are those
of `minicnn.engine`.
"""
