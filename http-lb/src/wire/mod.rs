//! HTTP as bytes: requests, responses, chunks, fields, paths. Nothing in here awaits or knows a socket. Kind: pure.
