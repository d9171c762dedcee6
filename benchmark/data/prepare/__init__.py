"""From the archives as their authors publish them to the folders that the scenarios read."""
