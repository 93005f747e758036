//! Decisions about a request that need no upstream: where it goes, what it may, which headers it carries. Kind: pure.
