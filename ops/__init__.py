"""The built-in ops, one file each; they use nothing that a plugin could not."""
