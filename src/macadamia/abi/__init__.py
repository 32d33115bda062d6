"""The interfaces of the systems as data, stated once: kernels, user stubs, tables and tests derive from them."""
