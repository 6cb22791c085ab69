"""The controller on the local network: its name, and who else announces itself there."""
