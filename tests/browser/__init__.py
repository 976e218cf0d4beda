"""What a reader sees, in a browser: `make browser` names these files, and `make test` collects none of them."""
