"""The judge: pure decisions over what was seen."""
