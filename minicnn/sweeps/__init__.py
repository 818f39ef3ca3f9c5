"""Many runs at once: a grid of settings, trained by the processes of one machine or of many.

    grid.py        what is varied, and the cells that result: one run each
    directory.py   what lies on the disk: the plan, a run directory for each cell
    cell.py        what a worker does: begin a cell, or resume it, and train it to its end
    engine.py      where workers come from: Dask
    sweep.py       all cells, to the end, whatever happens to workers
    table.py       what the cells have reached, by setting
    report.py      the same in files, with a picture

`minicnn sweep` is the command. See docs/sweeps.md.
"""
