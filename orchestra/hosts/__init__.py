"""Where attempts and gates run. What crosses to a host is plain data and git's objects."""
