//! What tells one state of a file from another without reading it. Kind: pure.

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp {
    /// Its length in bytes.
    pub(super) size: u64,
    /// Its inode's number: a file that is replaced has another.
    pub(super) inode: u64,
    /// When it was modified: seconds since 1970. What was modified before 1970 was modified in 1970.
    pub(super) modified: u64,
    /// And the nanoseconds.
    pub(super) nanoseconds: u64,
}

impl Stamp {
    /// A strong entity tag, as far as the file system's clock goes. Not of the inode: another machine's copy has another.
    pub(super) fn etag(&self, coding: Option<&str>) -> String {
        let Self { size, modified, nanoseconds, .. } = self;
        match coding {
            Some(coding) => format!("\"{modified:x}.{nanoseconds:x}-{size:x}-{coding}\""),
            None => format!("\"{modified:x}.{nanoseconds:x}-{size:x}\""),
        }
    }
}
