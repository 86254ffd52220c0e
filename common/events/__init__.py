"""Raw event recordings: one reader and writer per container, slicing, and counting events into frames."""
