"""What else a team would load assignments with, each in an environment of its own."""
