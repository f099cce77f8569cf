"""What stands in deploy/ is true: each file is used here as it would be there, or compared with the program."""
