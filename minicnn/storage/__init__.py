"""Files that survive a crash, and files that detect a changed byte."""
