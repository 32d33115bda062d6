"""The L4 microkernel: the X.2 interface, one file per concept."""
