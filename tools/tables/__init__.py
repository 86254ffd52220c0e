"""The published results, one TOML file per paper; `tools.reproduction.tables` reads them."""
