//! Bodies that are read whole: in memory, then in an unlinked file, under one budget of the process. Kind: driver.
