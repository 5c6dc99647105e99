"""What the minutes of the sessions alone show, without official days: cuts, lost minutes, levels, extended hours."""
