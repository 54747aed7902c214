"""The commands; a module may have several (see COMMANDS in command_table.py)."""
