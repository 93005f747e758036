//! Asks every endpoint of a cluster how it is, on a jittered beat. Kind: driver.
