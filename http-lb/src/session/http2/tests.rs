//! Connections as frame scripts. Kind: driver.
