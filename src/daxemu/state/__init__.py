"""A machine that outlives its engine: what is kept on disk, and how it is made again."""
