"""One training by several processes, on one machine or many: `mpiexec -n 4 minicnn train`.

    launch.py     whether mpiexec started this process, and MPI itself
    split.py      which process computes which shards of a batch
    exchange.py   arrays put together from all processes, and an end to every wait
    team.py       a training step, and a measurement, by all of them
    follow.py     what the processes do that do not lead

Every process holds the whole state of the run and computes the same bits as one process alone would: see
`minicnn.engine.shards`. Process 0 leads: it alone prints, and it alone writes the run's directory.
"""
