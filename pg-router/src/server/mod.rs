//! PostgreSQL servers: logging in to them, and asking them short questions. Kind: driver.
