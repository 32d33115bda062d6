"""The interfaces of the systems as data, stated once: kernels, stubs, tables and tests derive from them."""
