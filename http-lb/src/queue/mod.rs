//! Who gets which replica, and when: slots, one queue per cluster, health, discovery. Kind: driver.
