"""Function environments: what a function's requirements.txt asks for, installed once for each content and shared."""
