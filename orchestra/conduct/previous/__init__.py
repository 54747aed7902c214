"""What earlier sessions of a run have left."""
