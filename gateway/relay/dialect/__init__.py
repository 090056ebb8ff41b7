"""How families of model APIs speak: which they are, their events, tokens and errors, and the forms they take."""
