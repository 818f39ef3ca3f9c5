"""Files that survive a crash, files that detect a changed byte, and names of files."""
