"""The command `sendarix`: commands, their options, and how things are shown. All that it can, the library can."""
