"""The application: knows everyone, decides nothing."""
