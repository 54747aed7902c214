"""The command line: the table of commands, and the modules that carry them out."""
