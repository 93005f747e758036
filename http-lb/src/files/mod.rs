//! Static files: from memory where they fit, from disk otherwise. Kind: driver.
