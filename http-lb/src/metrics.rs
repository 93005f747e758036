//! What the workers of the balancer count. Kind: driver.
