"""Score logged bags with what the live nodes run: windows, encoders, bank and trackers."""
