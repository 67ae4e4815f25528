"""The oracle: what a real Linux kernel's device-dax answers, in a virtual machine, beside what daxemu answers."""
