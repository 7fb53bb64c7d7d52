"""What users write about where requests go, as the control plane checks it and the gateway follows it."""
