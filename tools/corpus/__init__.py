"""Whole runs of the real program, kept so that another version of it can be compared with this one."""
