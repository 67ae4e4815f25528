"""The nvdimm bus: what a dax device of provider pmem is made of, and what ndctl and PMDK look at."""
