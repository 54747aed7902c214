"""What a run hands over at its end, and to whom."""
