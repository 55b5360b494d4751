"""What receiving and delivering both need of the wire."""
