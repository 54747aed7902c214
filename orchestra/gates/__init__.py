"""Gates: the commands that say whether a tree is good, found in a repository and run on one tree at a time."""
