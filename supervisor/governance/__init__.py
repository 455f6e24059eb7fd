"""What may run: sessions, gates, the kill switch, breakers."""
