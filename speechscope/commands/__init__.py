"""One thin file per subcommand, and the options they share."""
