"""The report: what the events amount to, and the forms it is given in. Pure."""
