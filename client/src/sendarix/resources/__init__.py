"""One module per resource: functions that build calls, and the two classes that carry them out. No I/O."""
