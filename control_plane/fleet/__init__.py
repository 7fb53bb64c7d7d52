"""Making it so: what to launch, relabel and drain for a target (`plan`), and carrying that out (`keeper`)."""
