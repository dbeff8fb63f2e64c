"""Commands, one module each; a module's ``register(app)`` adds its commands to the application."""
