"""Scripts that accelerate launches, and recipes as YAML; `fas train` and `fas adapter` do the same."""
