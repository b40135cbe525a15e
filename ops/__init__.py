"""The built-in ops, one file each; they use only what a plugin can use."""
