"""The computational graph that users build, `Graph`, and its file format."""
