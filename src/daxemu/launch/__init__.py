"""Starting programs: what they are, and what they need to see the devices."""
