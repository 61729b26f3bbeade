"""Tables: rows of numbers and categories."""
