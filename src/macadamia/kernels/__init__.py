"""The microkernels. They know the machine's interfaces, not each other and not Linux."""
