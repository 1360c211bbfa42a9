"""Parts of a user's own, as a package beside their config."""
