"""What each command does: call the library, print, and say by the exit code how it went."""
