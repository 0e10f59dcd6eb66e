"""What an event is: its id, what is accepted, its rows, and reads of its stream."""
