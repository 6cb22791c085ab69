"""Files that people and scripts exchange with the controller."""
