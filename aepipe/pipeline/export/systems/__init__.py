"""Systems that a release is exported to, one file each."""
