"""Recipes as YAML files; installed they are the package `fas_core.configs`."""
