"""The documentation as a site that opens from a file: its pages, their links, their formulas."""
