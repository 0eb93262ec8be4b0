"""A function over data: called once, or once per item, its result kept."""
