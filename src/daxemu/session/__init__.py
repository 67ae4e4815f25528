"""What other processes see of an engine: a private directory, a table, a socket, a tree."""
