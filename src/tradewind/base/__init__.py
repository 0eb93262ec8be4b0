"""What everything else stands on: errors, units, ids, the clock. It may only shrink."""
