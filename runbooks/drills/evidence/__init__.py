"""What a drill recorded, and pure functions that judge it: anyone can run them again on the files."""
