"""Writing files that survive a crash, and files that tell whether a byte has changed."""
