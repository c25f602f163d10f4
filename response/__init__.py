"""From alerts to people: cases, deadlines, notices."""
