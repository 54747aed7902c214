"""The command line: the table of commands, and a module for each."""
