"""Imported before everything else here: Numba with its settings, or one line that says why not."""

from minicnn.engine.numba_settings import import_numba

import_numba()
