"""What every feature stands on; knows no feature and reads no environment."""
