"""HAT: hard attention to the task, gates on units that protect what they let through."""
