"""One file for each verb: `arguments` declares what it takes, `main` does it."""
