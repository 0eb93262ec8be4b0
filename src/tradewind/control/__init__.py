"""The road: what carries a spec from accepted to its end. Read `road` first."""
