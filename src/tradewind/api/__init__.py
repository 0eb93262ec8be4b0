"""HTTP: routes, the guard in front of them, the event stream. No decision is taken here."""
