//! One client: what it may do next, and where its commands go. Kind: wiring.

mod aside;
pub mod doomed;
mod downstream;
mod driver;
mod own;
pub mod pinned;
pub mod profile;
pub mod registry;
mod scripts;
mod terms;
pub mod verbs;

pub use downstream::Downstream;
pub use driver::{Session, Visitor};
pub use scripts::Scripts;
pub use terms::Terms;

/// All clients.
pub type Guests = std::sync::Arc<()>;
