"""The words of `resume`."""

USAGE = """usage: aider-orchestrator resume [RUN] [options]

Take up a run that was stopped or died: the latest one, or RUN (the timestamp in its files' names).
Finished work is kept, failed tasks are tried again, and a reply that was paid for is not asked for again.
It goes on with the settings of the run; a flag given now changes one of them.
"""
