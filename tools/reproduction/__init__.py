"""What `tools/reproduce.py` is made of: the published tables, plans to run them, and the report."""
