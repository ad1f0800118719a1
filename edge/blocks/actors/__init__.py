"""Virtual actors: turns, timers, reminders, state and placement, with nothing else to run. The API is `service.ActorService`."""
